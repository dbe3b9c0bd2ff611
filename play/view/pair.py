"""Draws the two clips of a pair side by side: frames of a film, or a kitchen from its states."""

from __future__ import annotations

import numpy as np
import pygame

from play.labelling.clips import Film, Kitchen, Pair, Side
from play.view import theme
from play.view.kitchen import KitchenPainter
from play.view.ui import Ui

EDGE = 3  # width of a clip's border in units


class PairPainter:
    """Both clips of one pair in two boxes of the window; make a new one for another pair, size or order."""

    def __init__(self, pair: Pair, left: int, ui: Ui, boxes: tuple[pygame.Rect, pygame.Rect]) -> None:
        self.key = (pair, left, ui, tuple(boxes[0]))
        self._ui, self._boxes = ui, boxes
        self._sides: tuple[Side, Side] = (pair.sides[left], pair.sides[1 - left])
        self._kitchens = [_kitchen(side, ui, box) for side, box in zip(self._sides, boxes, strict=True)]
        self._scaled: list[tuple[int, pygame.Surface] | None] = [None, None]  # the frame drawn last

    def draw(self, surface: pygame.Surface, frame: int, alpha: float, unsafe: tuple[bool, bool], now_s: float) -> None:
        """Draw one moment of both; a clip that is over shows its last frame."""
        for place, (side, box) in enumerate(zip(self._sides, self._boxes, strict=True)):
            edge = theme.VERMILION if unsafe[place] else theme.LINE
            self._ui.box(surface, box, theme.PANEL, 6, edge, EDGE if unsafe[place] else 1)
            at = min(frame, side.length - 1)
            painter = self._kitchens[place]
            if isinstance(side, Film):
                self._film(surface, place, side, at, box)
            elif painter is not None:
                before = side.states[max(0, at - 1)]
                mine = () if side.seat is None else (side.seat,)
                painter.draw(surface, before, side.states[at], alpha, now_s, mine, side.hz)

    def _film(self, surface: pygame.Surface, place: int, film: Film, at: int, box: pygame.Rect) -> None:
        kept = self._scaled[place]
        if kept is None or kept[0] != at:
            kept = self._scaled[place] = (at, _scaled(film.frames[at], _room(self._ui, box)))
        surface.blit(kept[1], kept[1].get_rect(center=box.center))


def _room(ui: Ui, box: pygame.Rect) -> pygame.Rect:
    return box.inflate(-2 * ui.px(EDGE), -2 * ui.px(EDGE))


def _kitchen(side: Side, ui: Ui, box: pygame.Rect) -> KitchenPainter | None:
    return KitchenPainter(side.grid, ui, _room(ui, box)) if isinstance(side, Kitchen) else None


def _scaled(frame: np.ndarray, room: pygame.Rect) -> pygame.Surface:
    """The frame [H, W, 3] as large as it fits into `room`."""
    height, width = frame.shape[:2]
    picture = pygame.image.frombuffer(np.ascontiguousarray(frame).tobytes(), (width, height), "RGB")
    scale = min(room.width / width, room.height / height)
    return pygame.transform.smoothscale(picture, (max(1, round(width * scale)), max(1, round(height * scale))))
