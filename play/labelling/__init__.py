"""Labelling by people, without a window: what is asked, what was said, the clips, the tape, the keys, the report."""
