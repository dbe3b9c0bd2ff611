"""Studies without a window: the file, the participant's way through it, the report."""
