"""`coord bench play`: how quick the window is, how quickly partners think, whether memory stays where it is.

Frames and key presses are measured in a real game in real time, partner included, at 1280 x 720 with whatever video
driver SDL finds (its dummy driver without a display). Memory is measured over games played as fast as they can be
drawn, on a clock that runs ahead.
"""

from __future__ import annotations

import itertools
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from coord.bench.config import BenchConfig
from coord.overcooked import IndexSpec, OvercookedVectorEnv, load_layout
from coord.places import python_command
from play.game.settings import GameChoice
from play.game.worker import GameSpec, PartnerSpec, PartnerWorker, load_partner
from play.screens.game import GameScreen
from play.view.events import UiEvent

if TYPE_CHECKING:
    from coord.agents.players import Agent
    from play.app import App

SIZE = (1280, 720)
FPS = 60
FAST_FPS = 20  # frames per simulated second while memory is measured
LAYOUT = "coordination_ring"
KEYS = ("up", "down", "left", "right", "space")
BARS = {"frame_ms_p99": 16.0, "inference_ms_p99": 5.0, "start_s": 2.0, "growth_mb": 20.0}
FIRST_FRAME = """
import sys, time
from pathlib import Path
from coord.run.config import load
load("play", [])
from play.app import App, Options
folder = Path(sys.argv[1])
app = App(Options(file=folder / "games.sqlite", settings=folder / "settings.json", folders=()))
app.frame([])
print(time.time())
app.quit()
app.preloader.close()
"""


def bench(cfg: BenchConfig) -> dict[str, Any]:
    """`coord bench play`."""
    return bench_play(cfg.minutes)


def bench_play(minutes: float, seconds: float = 20.0) -> dict[str, Any]:
    """All measurements. minutes: simulated length of the memory run; seconds: real length of the frame run."""
    with tempfile.TemporaryDirectory() as folder:
        result = {
            "what": "play",
            "start_s": round(start_up(Path(folder)), 2),
            **window(Path(folder), seconds),
            "inference_ms": {name: inference(name) for name in ("greedy", "mlp", "cnn")},
            "memory": memory(Path(folder), minutes),
        }
    found = {
        "frame_ms_p99": result["frame_ms"]["p99"],
        "inference_ms_p99": max(one["p99"] for one in result["inference_ms"].values()),
        "start_s": result["start_s"],
        "growth_mb": result["memory"]["growth_mb"],
    }
    result["within_bars"] = {name: found[name] < bar for name, bar in BARS.items()}
    return result


def start_up(folder: Path) -> float:
    """Seconds from starting a fresh Python to the menu's first frame, reading the configuration included."""
    began = time.time()
    command = python_command(FIRST_FRAME, str(folder))
    done = subprocess.run(command, env=_environment(), capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1]) - began


def window(folder: Path, seconds: float) -> dict[str, Any]:
    """Frame times, and from key press to the tick it counts in, of a game with the greedy cook."""
    with _app(folder, time.monotonic) as app:
        choice = GameChoice(layout=LAYOUT, partner="greedy", ticks=20_000)
        screen = GameScreen(app, choice)
        app.push(screen)
        while screen.stage.phase != "playing" and app.top is screen:
            app.frame([])
            time.sleep(1 / FPS)
        if app.top is not screen:
            raise RuntimeError(f"the game did not start: {screen.stage.problem}")
        frames, cpu, presses = _play(app, screen, seconds)
        missed = screen.stage.session.misses[1] / max(1, screen.stage.session.tick)
    return {
        "video": os.environ.get("SDL_VIDEODRIVER", "default"),
        "frame_ms": _quantiles(frames),
        "frame_cpu_ms": _quantiles(cpu),  # without what other programs took of the machine
        "input_to_tick_ms": {**_quantiles(presses), "tick_ms": round(1000 / choice.tick_hz, 1)},
        "missed_share": round(missed, 4),
    }


def _play(app: App, screen: GameScreen, seconds: float) -> tuple[list[float], list[float], list[float]]:
    """Press keys at random moments for that long; ms and CPU ms of each frame, ms from each press to its tick."""
    rng = np.random.default_rng(0)
    frames, cpu, presses = [], [], []
    began_s = next_frame_s = time.monotonic()
    press_s, pending = began_s + 0.3, None  # a pending press: (when it happened, latencies known then, lag to dispatch)
    while next_frame_s < began_s + seconds:
        frame_began, cpu_began = time.perf_counter(), time.thread_time()
        now_s = time.monotonic()
        if now_s >= press_s:
            key = str(rng.choice(KEYS))
            pending = (screen.stage.latencies_ms, (now_s - press_s) * 1000)
            app.handle(UiEvent("press", key))
            app.handle(UiEvent("release", key))
            press_s += rng.uniform(0.2, 0.6)
        app.frame([])
        if pending is not None and screen.stage.latencies_ms is not pending[0]:
            presses.append(screen.stage.latencies_ms[-1] + pending[1])
            pending = None
        frames.append((time.perf_counter() - frame_began) * 1000)
        cpu.append((time.thread_time() - cpu_began) * 1000)
        next_frame_s = max(next_frame_s + 1 / FPS, time.monotonic())
        time.sleep(max(0.0, next_frame_s - time.monotonic()))
    return frames, cpu, presses


def inference(name: str, ticks: int = 300) -> dict[str, float]:
    """ms a partner takes from receiving a state to having its action, in its own process."""
    layout = load_layout(LAYOUT)
    loader = load_partner if name == "greedy" else untrained
    game = GameSpec(layout, "classic", ticks, 1)
    worker = PartnerWorker(PartnerSpec(name), game, time.monotonic(), loader=loader)
    env = OvercookedVectorEnv(layout, 1, horizon=ticks)
    env.reset()
    rng, latencies = np.random.default_rng(0), []
    try:
        _until(worker, lambda: worker.status != "loading")
        for tick in range(ticks - 1):
            worker.submit(tick, env.state_dict(0), None, time.monotonic())
            answers = _until(worker, partial(worker.take, tick))
            latencies.append(answers.latency_ms)
            env.step(np.array([[rng.integers(6), answers.action]]))
    finally:
        worker.close()
    return _quantiles(latencies)


def untrained(spec: PartnerSpec, game: GameSpec) -> Agent:
    """A fresh network of the kind `spec.ref` (mlp, cnn), as large as the published ones."""
    import torch

    from coord.agents.policy import FrozenPolicy
    from coord.nets.population import Arch, PopulationNet

    index = IndexSpec.for_layouts((game.layout,), game.rules, game.layout.num_players)
    arch, vocabulary = {
        "mlp": (Arch(kind="mlp_index", inputs=index.vocab_size, hidden=(64, 64)), index),
        "cnn": (Arch(kind="cnn", board=(game.layout.width, game.layout.height), hidden=(64, 64)), None),
    }[spec.ref]
    net = PopulationNet.create(arch, [torch.Generator().manual_seed(spec.seed)])
    return FrozenPolicy(net, vocabulary, agent_id=spec.ref)


def memory(folder: Path, minutes: float) -> dict[str, float]:
    """Growth of this process over recorded games of two people, after a first tenth that fills the caches."""
    clock = _Clock()
    keys = itertools.cycle(("up", "w", "space", "left", "e", "d", "right", "s", "down", "a"))
    with _app(folder, clock) as app:
        while not app.preloader.ready:
            time.sleep(0.01)
        choice = GameChoice(layout=LAYOUT, second_human=True)
        frames, base_mb, games = round(minutes * 60 * FAST_FPS), 0.0, 0
        for frame in range(frames):
            if not isinstance(app.top, GameScreen):
                app.home()
                app.push(GameScreen(app, choice))
                games += 1
            _settle(app)
            clock.now_s += 1 / FAST_FPS
            app.handle(UiEvent("press", key := next(keys)))
            app.handle(UiEvent("release", key))
            app.frame([])
            if frame == frames // 10:
                base_mb = _resident_mb()
        growth_mb = _resident_mb() - base_mb
    return {"minutes": minutes, "games": games, "base_mb": round(base_mb, 1), "growth_mb": round(growth_mb, 1)}


def _settle(app: App) -> None:
    """Wait for the thread that sets a game up: the clock of this run does not stand for its time."""
    screen = app.top
    while isinstance(screen, GameScreen) and not screen.stage.is_set_up:
        time.sleep(0.001)


class _Clock:
    """A clock that only goes when told to."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@contextmanager
def _app(folder: Path, clock: Callable[[], float]) -> Iterator[App]:
    from play.app import App, Options

    os.environ.update(_environment())
    app = App(Options(file=folder / "games.sqlite", settings=folder / "settings.json", folders=()), clock)
    app.change(window=SIZE)
    try:
        yield app
    finally:
        app.quit()
        app.preloader.close()


def _environment() -> dict[str, str]:
    """The environment, with SDL's dummy driver where there is no display."""
    found = dict(os.environ)
    if sys.platform.startswith("linux") and not (found.get("DISPLAY") or found.get("WAYLAND_DISPLAY")):
        found.setdefault("SDL_VIDEODRIVER", "dummy")
    return found


def _until(worker: PartnerWorker, check: Callable[[], Any]) -> Any:
    while not (found := check()):
        if worker.status not in ("loading", "ready"):
            raise RuntimeError(worker.message)
        time.sleep(0.0005)
        worker.poll(time.monotonic())
    return found


def _quantiles(values: list[float]) -> dict[str, float]:
    p50, p99 = np.quantile(values, [0.5, 0.99])
    return {"p50": round(float(p50), 2), "p99": round(float(p99), 2), "n": len(values)}


def _resident_mb() -> float:
    """Memory held now (Linux), else the most ever held."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
