"""How strong the clones of people are beside the published ones: the figures of `coord bench yardstick`.

Per layout and training seed, the clone of the train half plays with the clone of the held-out half: classic rules,
400 ticks, sampled actions, both seats, which is how Carroll et al. 2019 measured theirs (one pair, picked by hand among
five seeds). Seed 0 of ours is the `bc_train` and `human_proxy` of every score; the others say how much hangs on it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coord.agents.files import HELD_OUT_ID
from coord.bench.config import BenchConfig
from coord.evaluation.matches import MatchRules, both_seats, play_matches
from coord.evaluation.proxies import load_clone, processor_kind
from coord.evaluation.published import LAYOUTS, published_row
from coord.overcooked import Layout, load_layout
from coord.stats import nested_bootstrap_ci

TRAIN_ID = "bc_train"


def bench(cfg: BenchConfig) -> dict[str, Any]:
    """`coord bench yardstick`; a line per layout goes to standard error meanwhile."""
    return bench_yardstick(cfg.layouts, cfg.seeds, cfg.episodes, partial(print, file=sys.stderr, flush=True))


def bench_yardstick(
    layouts: Sequence[str] = (), seeds: int = 10, episodes: int = 100, say: Callable[[str], None] = print
) -> dict[str, Any]:
    """Plain JSON: per layout the mean return of `seeds` pairs of clones, its 95 % interval and the published mean.

    layouts: those with human games; none for all five. episodes: games per pair and seat. say: gets a line per layout.
    The interval resamples pairs and, within them, games (`nested_bootstrap_ci`): it covers training as well as play.

    Raises:
        UserError: a layout without human games.
    """
    found = {}
    for name in layouts or LAYOUTS:
        home = load_layout(name)
        found[home.name] = _one_layout(home, seeds, episodes)
        say(line(home.name, found[home.name]))
    return {"bench": "yardstick", "seeds": seeds, "episodes": episodes, "processor": processor_kind(), "layouts": found}


def line(layout: str, row: dict[str, Any]) -> str:
    """The figures of a layout as text."""
    low, high = row["ci95"]
    return (
        f"{layout}: {row['mean_return']:.1f} [{low:.1f}, {high:.1f}], pairs {min(row['pairs']):.1f} to "
        f"{max(row['pairs']):.1f}, the shipped pair {row['pairs'][0]:.1f}, published {row['published']}"
    )


def _one_layout(home: Layout, seeds: int, episodes: int) -> dict[str, Any]:
    clones = [[load_clone(who, home, seed) for who in (TRAIN_ID, HELD_OUT_ID)] for seed in range(seeds)]
    returns = np.stack([_games(home, pair, episodes) for pair in clones])  # [seeds, 2, E]
    low, high = nested_bootstrap_ci(returns)
    published = published_row(TRAIN_ID)
    return {
        "mean_return": float(returns.mean()),
        "ci95": [low, high],
        "pairs": returns.mean(axis=(1, 2)).tolist(),
        "seats": returns.mean(axis=(0, 2)).tolist(),  # of the clone of the train half
        "published": published[home.name].mean if home.name in published else None,
        "files": [{clone.card.agent_id: clone.sha256 for clone in pair} for pair in clones],
    }


def _games(home: Layout, pair: Sequence[Any], episodes: int) -> NDArray[np.float32]:
    """[2, E] returns with the clone of the train half in seat 0 and in seat 1."""
    players = [clone.player() for clone in pair]
    return play_matches(MatchRules(layout=home), players, both_seats(0, [1]), episodes=episodes).returns
