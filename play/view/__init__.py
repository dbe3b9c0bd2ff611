"""Drawing: theme, text, widgets, sprites, the kitchen and its HUD. pygame lives here, in `play/screens` and in `play/app.py`."""
