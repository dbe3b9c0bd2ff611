"""Architectures with a leading population axis, their heads and their optimiser."""
