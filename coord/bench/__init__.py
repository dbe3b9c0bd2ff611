"""Benchmarks: what `coord bench` measures, printed as JSON."""
