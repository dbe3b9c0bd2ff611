"""One module per command of `coord`; each has HELP, EXAMPLES and run(overrides)."""
