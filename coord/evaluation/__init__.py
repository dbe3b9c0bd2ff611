"""Matches, zero-shot metrics and reports."""
