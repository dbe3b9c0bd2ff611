"""Experiments that stand alone, each behind a command of its own."""
