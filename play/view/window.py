"""The window itself: opening it, resizing it, full screen, and one clear line when there is no display."""

from __future__ import annotations

import os

import pygame

from coord.errors import UserError
from play.view import theme
from play.view.sprites import Sprites

CAPTION = "coord play"
WINDOW_CLASS = "coord-play"  # by which desktops and scripts find the window
ICON_SIZE = 60


def open_window(size: tuple[int, int], fullscreen: bool) -> pygame.Surface:
    """Open (or reopen) the window and return its surface. UserError when there is no display."""
    os.environ.setdefault("SDL_WINDOWS_DPI_AWARENESS", "permonitorv2")  # real pixels on scaled Windows desktops
    os.environ["SDL_VIDEO_X11_WMCLASS"] = WINDOW_CLASS  # pygame has put the name of the script there
    try:
        pygame.display.init()
        pygame.font.init()
        wanted = (0, 0) if fullscreen else (max(theme.MIN_SIZE[0], size[0]), max(theme.MIN_SIZE[1], size[1]))
        surface = pygame.display.set_mode(wanted, pygame.FULLSCREEN if fullscreen else pygame.RESIZABLE)
    except pygame.error as err:
        raise UserError(f"no window can be opened here ({err}); a display is needed to play") from err
    name_window("")
    return surface


def name_window(page: str, caption: str = CAPTION) -> None:
    """Put the name of the page into the window's title."""
    pygame.display.set_caption(f"{caption}: {page}" if page else caption)


def set_icon(sprites: Sprites) -> None:
    """A chef with a blue hat."""
    icon = pygame.Surface((ICON_SIZE, ICON_SIZE), pygame.SRCALPHA)
    for name in ("SOUTH", "SOUTH-bluehat"):
        icon.blit(sprites.at(name, ICON_SIZE), (0, 0))
    pygame.display.set_icon(icon)


def init_input() -> None:
    """Open the input devices beyond keyboard and mouse; a machine without them is fine."""
    from pygame._sdl2 import controller

    try:
        pygame.joystick.init()
        controller.init()
    except pygame.error:
        return


def close_window() -> None:
    """Give everything back to the system."""
    pygame.quit()
