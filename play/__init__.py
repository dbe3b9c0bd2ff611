"""The game client: headless session logic here, pygame only in view, screens and app."""
