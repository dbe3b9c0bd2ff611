"""`coord theory`: check the convergence theorems of Meta-Reward-Net on a problem that meets their assumptions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from coord.limits import Count, Seed

HELP = "check the convergence theorems of Meta-Reward-Net on a small problem"
EXAMPLES = (
    "coord theory",
    "coord theory seeds=32 horizons=64,256,1024,4096,16384 out=runs/theory-long",
)


@dataclass(frozen=True, kw_only=True)
class TheoryConfig:
    """Do the convergence theorems of Meta-Reward-Net say something about learning?"""

    seeds: Count = 16  # independent repetitions, run together
    # numbers of iterations T, each with its own step sizes
    horizons: tuple[Count, ...] = (64, 128, 256, 512, 1024, 2048, 4096)
    threads: int = 1  # the tensors are tiny, more threads do not help
    seed: Seed = 0  # root of all randomness
    out: str = "runs/theory"  # folder for theory.json and theory.png


Config = TheoryConfig


def run(overrides: Sequence[str]) -> int:
    """Do what the words say; the exit code."""
    from pathlib import Path

    from coord.checkpoint import provenance
    from coord.files import atomic_write_json, check_folder
    from coord.run.config import load, to_dict
    from coord.studies.theory import draw_figure, run_theory, summary
    from coord.threads import set_threads

    cfg = load("theory", overrides)
    set_threads(cfg.threads)
    out = Path(cfg.out)
    check_folder(out)
    result = run_theory(cfg.seeds, cfg.horizons, cfg.seed)
    atomic_write_json(out / "theory.json", {**result, "provenance": provenance(to_dict(cfg))})
    draw_figure(result, out / "theory.png")
    print(summary(result))
    print(f"written to {out / 'theory.json'} and {out / 'theory.png'}")
    return 0
