"""Labelling by people, without a window: what is asked, what was said, clips, playback, keys, the report."""
