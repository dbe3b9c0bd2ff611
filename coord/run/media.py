"""Pictures and films from frames, uint8 [H, W, 3]: PNG, animated GIF, MP4. Files are written atomically."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from coord.errors import UserError, unknown
from coord.files import atomic_write_bytes, check_place

Frame = NDArray[np.uint8]


def save_png(path: str | Path, frame: Frame) -> None:
    """One frame as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "PNG", optimize=True)
    atomic_write_bytes(path, buffer.getvalue())


def save_gif(path: str | Path, frames: Iterable[Frame], *, fps: float) -> None:
    """Frames as a GIF that repeats for ever; its clock counts hundredths of a second, so fps is rounded to that."""
    first, *others = [Image.fromarray(frame) for frame in _checked(frames)]
    buffer = io.BytesIO()
    duration_ms = max(round(100 / fps), 2) * 10  # viewers slow down anything below 20 ms
    first.save(buffer, "GIF", save_all=True, append_images=others, duration=duration_ms, loop=0, optimize=False)
    atomic_write_bytes(path, buffer.getvalue())


def save_mp4(path: str | Path, frames: Iterable[Frame], *, fps: float) -> None:
    """Frames as H.264 video, playable in every browser; an odd height or width loses its last row or column."""
    import imageio.v2 as imageio  # starts ffmpeg, which nothing else needs

    cut: list[Any] = [frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2] for frame in _checked(frames)]
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "film.mp4"
        imageio.mimwrite(film, cut, fps=fps, codec="libx264", quality=7, macro_block_size=2)
        atomic_write_bytes(path, film.read_bytes())


FILMS: dict[str, Callable[..., None]] = {".gif": save_gif, ".mp4": save_mp4}


def check_film(path: str | Path) -> str:
    """The format of a film, by its ending; before frames are drawn for it.

    Raises:
        UserError: another ending than those in `FILMS`, or a place that cannot be written.
    """
    ending = Path(path).suffix.lower()
    if ending not in FILMS:
        raise unknown("film format", ending or str(path), FILMS)
    check_place(path)
    return ending


def save_film(path: str | Path, frames: Iterable[Frame], *, fps: float) -> None:
    """Frames in the format that the ending of `path` names.

    Raises:
        UserError: see `check_film`; no frame at all.
    """
    FILMS[check_film(path)](path, frames, fps=fps)


def _checked(frames: Iterable[Frame]) -> Sequence[Frame]:
    """All frames as a list.

    Raises:
        UserError: there is none.
        ValueError: frames of different size, or anything but uint8 [H, W, 3].
    """
    listed = list(frames)
    if not listed:
        raise UserError("a film needs at least one frame")
    for frame in listed:
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape != (*listed[0].shape[:2], 3):
            raise ValueError(f"a frame is uint8 [H, W, 3] of constant size, got {frame.dtype} {frame.shape}")
    return listed


def contact_sheet(pictures: Sequence[Frame], *, gap: int = 12) -> Frame:
    """Pictures of any size side by side on white, about as wide as high, uint8 [H, W, 3]."""
    cell_h, cell_w = (max(picture.shape[axis] for picture in pictures) + gap for axis in (0, 1))
    columns = min(len(pictures), max(1, round((len(pictures) * cell_h / cell_w) ** 0.5)))
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * cell_h + gap, columns * cell_w + gap, 3), 255, np.uint8)
    for i, picture in enumerate(pictures):
        top, left = gap + i // columns * cell_h, gap + i % columns * cell_w
        sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return sheet
