"""The game without a window: sessions, clock, seats, records, replays, and what can be chosen."""
