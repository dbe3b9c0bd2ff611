"""Commands of `coord` around games, studies and labels."""
