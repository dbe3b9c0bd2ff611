"""Drawing: theme, text, widgets, sprites, kitchen, HUD. pygame lives here, in `play/screens` and `play/app.py`."""
