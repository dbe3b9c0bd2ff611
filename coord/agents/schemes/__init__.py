"""Agents that were not made here: what stands before the colon of a reference says how they are loaded."""
