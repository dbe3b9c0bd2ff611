"""Populations of partner agents: pools on disk and one file per training method."""
