"""Pictures and films: readable by other programs, right size, right speed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from coord.errors import UserError
from coord.run import media


def moving_square(num_frames: int = 5, height: int = 48, width: int = 64) -> list[np.ndarray]:
    frames = []
    for i in range(num_frames):
        frame = np.zeros((height, width, 3), np.uint8)
        frame[8:24, 8 * i : 8 * i + 16] = (220, 40, 40)
        frames.append(frame)
    return frames


def test_png_keeps_every_pixel(tmp_path: Path) -> None:
    frame = moving_square()[2]
    media.save_png(tmp_path / "a.png", frame)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), frame)


def test_gif_has_all_frames_at_the_right_speed(tmp_path: Path) -> None:
    frames = moving_square()
    media.save_film(tmp_path / "a.gif", frames, fps=20 / 3)  # 6.67 ticks a second, 150 ms each
    with Image.open(tmp_path / "a.gif") as film:
        read = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(film)]
        assert film.info["duration"] == 150
        assert film.info["loop"] == 0
    assert len(read) == len(frames)
    for ours, theirs in zip(frames, read, strict=True):
        assert np.abs(ours.astype(int) - theirs).max() <= 8  # the palette of a GIF has 256 colours


def test_mp4_has_all_frames_and_even_sides(tmp_path: Path) -> None:
    import imageio.v2 as imageio

    frames = moving_square(height=49, width=65)
    media.save_film(tmp_path / "a.mp4", frames, fps=10)
    with imageio.get_reader(tmp_path / "a.mp4") as film:
        read = [np.asarray(frame) for frame in film]
        assert film.get_meta_data()["fps"] == pytest.approx(10)
    assert [frame.shape for frame in read] == [(48, 64, 3)] * len(frames)
    assert read[2][16, 24, 0] > 150  # inside the square of the third frame
    assert read[2][40, 24].max() < 60


def test_bad_requests_are_clear(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown film format '.avi'.*allowed: .gif, .mp4"):
        media.save_film(tmp_path / "a.avi", moving_square(), fps=5)
    with pytest.raises(UserError, match="at least one frame"):
        media.save_film(tmp_path / "a.gif", [], fps=5)
    with pytest.raises(ValueError, match="constant size"):
        media.save_gif(tmp_path / "a.gif", [*moving_square(), np.zeros((3, 3, 3), np.uint8)], fps=5)
    with pytest.raises(UserError, match="cannot write"):
        media.save_png("/dev/null/a.png", moving_square()[0])
    assert list(tmp_path.iterdir()) == []
