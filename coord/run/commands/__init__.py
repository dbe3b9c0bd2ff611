"""Commands of `coord` that need no partners and no games of people."""
