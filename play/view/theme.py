"""Every colour, size and shape of the window, in one place.

Sizes are written for a 960 x 540 window (scale 1, one step = 8 px) and multiplied by `ui_scale`.
Colours are Okabe and Ito's set ("Color Universal Design", 2008) on dark or light neutrals; every text colour has a
contrast of at least 4.5:1 on every surface it is drawn on (a test computes it). There is one window, so the neutrals in
use are this module's own: `use` exchanges them, and whoever draws reads them then (never as a default argument).
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

INK: Color = (16, 17, 20)  # text on a bright surface, whatever the theme; also dark plates over a picture
PAPER: Color = (241, 243, 246)  # text on such a plate
BACKGROUND: Color = (20, 22, 27)
PANEL: Color = (31, 34, 41)
RAISED: Color = (45, 49, 58)
LINE: Color = (78, 85, 98)
TEXT: Color = PAPER
MUTED: Color = (178, 186, 198)
ALERT: Color = (255, 150, 92)  # a warning that must be read: vermilion lightened to keep its contrast
GOOD: Color = (84, 208, 166)  # a success that must be read: green, lightened alike

NEUTRALS: dict[str, dict[str, Color]] = {
    "dark": {
        "BACKGROUND": BACKGROUND, "PANEL": PANEL, "RAISED": RAISED, "LINE": LINE, "TEXT": TEXT, "MUTED": MUTED,
        "ALERT": ALERT, "GOOD": GOOD,
    },
    "light": {
        "BACKGROUND": (246, 247, 249), "PANEL": (231, 234, 239), "RAISED": (214, 219, 226), "LINE": (146, 154, 167),
        "TEXT": INK, "MUTED": (72, 79, 91), "ALERT": (150, 52, 0), "GOOD": (0, 90, 62),
    },
}  # fmt: skip

# A seat is told by colour, by shape and by number, so that no one of them is needed.
SEAT_COLORS: tuple[Color, ...] = (SKY, ORANGE, (84, 208, 166), PURPLE)
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


def use(name: str) -> None:
    """Draw with the neutrals of that theme from now on; a `Ui` made before keeps pieces of the old one.

    Raises:
        KeyError: it is not one of `NEUTRALS`.
    """
    globals().update(NEUTRALS[name])


def contrast(first: Color, second: Color) -> float:
    """Contrast ratio of two colours, 1..21 (WCAG 2.1, success criterion 1.4.3)."""
    high, low = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _luminance(color: Color) -> float:
    parts = [channel / 255 for channel in color]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
