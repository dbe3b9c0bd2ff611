"""Progress: right speed and ETA, a plain line every ten seconds, a panel only on a terminal."""

from __future__ import annotations

import io
import re

import pytest

from coord.run.progress import Progress, compact, duration, is_interactive


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(progress: Progress, clock: Clock, steps_per_s: float, seconds: int, start: float = 0) -> None:
    for second in range(1, seconds + 1):
        clock.now += 1
        progress.update(start + steps_per_s * second, {"return": float(second)})


def test_plain_lines_come_every_ten_seconds_and_at_the_end() -> None:
    clock, stream = Clock(), io.StringIO()
    with Progress("train ppo", 1000, stream=stream, clock=clock) as progress:
        run(progress, clock, 20, seconds=25)
    lines = stream.getvalue().splitlines()
    assert lines == [
        "train ppo: 20 %, 20 steps/s, elapsed 0:10, ETA 0:40, return 10",
        "train ppo: 40 %, 20 steps/s, elapsed 0:20, ETA 0:30, return 20",
        "train ppo: 50 %, 20 steps/s, elapsed 0:25, ETA 0:25, return 25",
    ]


def test_speed_is_that_of_the_last_half_minute() -> None:
    clock = Clock()
    progress = Progress("x", 10_000, stream=io.StringIO(), clock=clock)
    run(progress, clock, 1, seconds=60)  # slow at first: compilation
    run(progress, clock, 100, seconds=40, start=60)
    assert progress.speed == pytest.approx(100)
    assert progress.eta_s == pytest.approx((10_000 - 4060) / 100)


def test_a_resumed_run_counts_only_its_own_speed() -> None:
    clock = Clock()
    progress = Progress("x", 1000, start=500, stream=io.StringIO(), clock=clock)
    assert progress.eta_s is None
    run(progress, clock, 10, seconds=10, start=500)
    assert progress.speed == pytest.approx(10)
    assert progress.eta_s == pytest.approx(40)


def test_a_failed_run_prints_no_last_line() -> None:
    stream = io.StringIO()
    with pytest.raises(RuntimeError), Progress("x", 10, stream=stream):
        raise RuntimeError
    assert stream.getvalue() == ""


def test_panel_on_a_terminal_shows_bar_and_metrics() -> None:
    clock, stream = Clock(), Terminal()
    with Progress("train [ppo]", 100, stream=stream, clock=clock) as progress:
        run(progress, clock, 5, seconds=10)
        progress.note("half of [it] is done")
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    assert "train [ppo]" in text
    assert "50 %, 5 steps/s" in text
    assert "return 10" in text
    assert "half of [it] is done" in text
    assert "━" in text


def test_time_passes_on_the_panel_between_updates() -> None:
    clock, stream = Clock(), Terminal()
    with Progress("x", 100, stream=stream, clock=clock) as progress:
        run(progress, clock, 5, seconds=10)
        clock.now += 50
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    assert "50 %, 5 steps/s, elapsed 1:00" in text


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_plain_text_on_request(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert is_interactive(Terminal())
    monkeypatch.setenv(name, value)
    assert not is_interactive(Terminal())
    assert not is_interactive(io.StringIO())


def test_note_without_a_terminal_is_a_line() -> None:
    stream = io.StringIO()
    Progress("x", 1, stream=stream).note("saved")
    assert stream.getvalue() == "saved\n"


def test_numbers_for_people() -> None:
    assert [duration(s) for s in (0, 75, 3675, 59.6)] == ["0:00", "1:15", "1:01:15", "1:00"]
    assert [compact(n) for n in (0, 12.34, 999, 1234567, 2e9)] == ["0", "12.3", "999", "1.23M", "2G"]
