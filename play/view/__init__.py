"""Drawing: theme, text, widgets, sprites, kitchen and HUD. pygame lives here, in `play/screens` and in `play/app.py`."""
