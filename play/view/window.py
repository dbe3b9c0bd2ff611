"""The window itself: opening it, resizing it, full screen, and one clear line when there is no display."""

from __future__ import annotations

import os

import pygame

from coord.errors import UserError
from play.view import theme

CAPTION = "coord play"


def open_window(size: tuple[int, int], fullscreen: bool) -> pygame.Surface:
    """Open (or reopen) the window and return its surface. UserError when there is no display."""
    os.environ.setdefault("SDL_WINDOWS_DPI_AWARENESS", "permonitorv2")  # real pixels on scaled Windows desktops
    os.environ.setdefault("SDL_VIDEO_X11_NET_WM_BYPASS_COMPOSITOR", "0")
    try:
        pygame.display.init()
        pygame.font.init()
        wanted = (0, 0) if fullscreen else (max(theme.MIN_SIZE[0], size[0]), max(theme.MIN_SIZE[1], size[1]))
        surface = pygame.display.set_mode(wanted, pygame.FULLSCREEN if fullscreen else pygame.RESIZABLE)
    except pygame.error as err:
        raise UserError(f"no window can be opened here ({err}); a display is needed to play") from err
    pygame.display.set_caption(CAPTION)
    return surface


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
