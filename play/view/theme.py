"""Every colour, size and shape of the window, in one place.

Sizes are written for a 960 x 540 window (scale 1, one step = 8 px) and multiplied by `ui_scale`.
Colours are Okabe and Ito's set ("Color Universal Design", 2008) on dark neutrals; every text colour has a
contrast of at least 4.5:1 on every surface it is drawn on (a test computes it).
"""

from __future__ import annotations

Color = tuple[int, int, int]

ORANGE: Color = (230, 159, 0)
SKY: Color = (86, 180, 233)
GREEN: Color = (0, 158, 115)
YELLOW: Color = (240, 228, 66)
BLUE: Color = (0, 114, 178)
VERMILION: Color = (213, 94, 0)
PURPLE: Color = (204, 121, 167)

BACKGROUND: Color = (20, 22, 27)
PANEL: Color = (31, 34, 41)
RAISED: Color = (45, 49, 58)
LINE: Color = (78, 85, 98)
TEXT: Color = (241, 243, 246)
MUTED: Color = (178, 186, 198)
INK: Color = (16, 17, 20)  # text on a bright surface
ALERT: Color = (255, 150, 92)  # a warning that must be read: vermilion lightened to keep its contrast
GOOD: Color = (84, 208, 166)  # a success that must be read: green, lightened alike

# A seat is told by colour, by shape and by number, so that no one of them is needed.
SEAT_COLORS: tuple[Color, ...] = (SKY, ORANGE, GOOD, PURPLE)
SEAT_HATS = ("blue", "orange", "green", "purple")
SEAT_SHAPES = ("circle", "diamond", "square", "triangle")

STEP = 8  # the grid all spacing follows
SMALL, BODY, HEAD, TITLE, HUGE = 16, 18, 24, 40, 96  # text sizes; 16 is the smallest anywhere
ROW = 36  # height of a button or a choice
BASE_SIZE = (960, 540)
MIN_SIZE = (640, 360)


def ui_scale(size: tuple[int, int], text_scale: float = 1.0) -> float:
    """How many pixels one unit of the 960 x 540 design takes in a window of `size`; never below 1."""
    fit = min(size[0] / BASE_SIZE[0], size[1] / BASE_SIZE[1])
    return max(1.0, int(fit * 8) / 8) * text_scale


def contrast(first: Color, second: Color) -> float:
    """Contrast ratio of two colours, 1..21 (WCAG 2.1, success criterion 1.4.3)."""
    high, low = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _luminance(color: Color) -> float:
    parts = [channel / 255 for channel in color]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
