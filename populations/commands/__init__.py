"""Commands of `coord` that train, score and make partners."""
