"""One module per screen: a small class with `handle(event)`, `update(now_s)` and `draw(surface)`."""
