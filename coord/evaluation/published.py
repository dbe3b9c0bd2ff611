"""Published returns with human proxies, for orientation beside our own.

All of them: classic rules, 400 ticks, 20 points a soup, partner = a behaviour clone of held-out human games, mean of
both seats; those of Lou et al. are read off a figure. They were measured with other training code and with each group's
own clone, so they orient; they are not a controlled comparison.
"""

from __future__ import annotations

from dataclasses import dataclass

from coord.overcooked.layouts import LAYOUT_ALIASES

CARROLL = "Carroll et al. 2019"
PECAN = "Lou et al. 2023"


@dataclass(frozen=True)
class Published:
    """One published mean return and, where it was given, its interval."""

    agent: str
    human_data: bool  # whether it learned from human games
    source: str
    mean: float
    low: float | None = None
    high: float | None = None


LAYOUTS = (
    "cramped_room",
    "asymmetric_advantages",
    "coordination_ring",
    "forced_coordination",
    "counter_circuit_o_1order",
)

# One column per layout, in the order of LAYOUTS. Carroll et al. publish a mean per seat; here is the mean of the two.
_CARROLL_ROWS = {
    ("self-play", False): (104.0, 70.35, 69.85, 30.55, 31.5),
    ("PBT", False): (98.9, 74.8, 75.35, 21.1, 36.2),
    ("behaviour clone", True): (106.75, 137.0, 64.5, 25.75, 41.0),
    ("PPO_BC", True): (160.15, 125.7, 128.1, 67.9, 63.55),
    ("PPO on the proxy itself", True): (166.8, 156.1, 144.25, 85.35, 82.8),
}
# (mean, low, high) per layout, in the same order
_PECAN_ROWS = {
    "self-play": (
        (111.2, 105.5, 117.5),
        (91.8, 75.6, 108.8),
        (66.6, 46.8, 90.3),
        (23.1, 18.0, 28.5),
        (31.8, 26.7, 39.3),
    ),
    "PBT": (
        (113.3, 101.9, 130.1),
        (92.7, 87.0, 99.9),
        (70.5, 58.5, 79.2),
        (13.5, 10.8, 17.1),
        (32.4, 25.5, 39.9),
    ),
    "FCP": (
        (109.7, 102.2, 118.1),
        (83.7, 78.3, 90.3),
        (93.6, 80.4, 108.2),
        (29.1, 25.8, 32.7),
        (33.3, 27.3, 40.2),
    ),
    "TrajeDi": (
        (117.8, 115.1, 121.1),
        (91.8, 84.3, 100.1),
        (95.7, 82.2, 110.3),
        (24.3, 21.6, 28.2),
        (45.3, 42.3, 49.5),
    ),
    "MEP": (
        (128.3, 119.6, 135.2),
        (120.5, 104.3, 137.6),
        (109.1, 101.0, 117.2),
        (26.4, 21.9, 31.2),
        (45.3, 36.9, 53.7),
    ),
    "PECAN": (
        (138.2, 135.5, 141.8),
        (150.8, 123.5, 177.5),
        (127.4, 122.3, 134.3),
        (37.2, 32.1, 43.8),
        (51.9, 49.2, 55.8),
    ),
}

# Entry of the scoreboard -> the published row to show beside it.
_ROW_OF = {
    "sp": ("self-play", PECAN),
    "pbt": ("PBT", PECAN),
    "fcp": ("FCP", PECAN),
    "trajedi": ("TrajeDi", PECAN),
    "mep": ("MEP", PECAN),
    "pecan": ("PECAN", PECAN),
    "ppo_bc": ("PPO_BC", CARROLL),
    "bc_train": ("behaviour clone", CARROLL),
}


def published_row(method: str) -> dict[str, Published]:
    """Layout -> published figure of an entry's own method with a proxy; empty where none is known to us."""
    if method not in _ROW_OF:
        return {}
    agent, source = _ROW_OF[method]
    return {
        layout: next(
            one for one in published_returns(layout, "classic", 400) if (one.agent, one.source) == (agent, source)
        )
        for layout in LAYOUTS
    }


def published_returns(layout: str, rules: str, horizon: int) -> list[Published]:
    """Published figures for this setting, lowest first; empty for rules, length or layout that none of them has."""
    name = LAYOUT_ALIASES.get(layout, layout)
    if rules != "classic" or horizon != 400 or name not in LAYOUTS:
        return []
    column = LAYOUTS.index(name)
    found = [Published(*agent, CARROLL, means[column]) for agent, means in _CARROLL_ROWS.items()]
    found += [Published(agent, False, PECAN, *triples[column]) for agent, triples in _PECAN_ROWS.items()]
    return sorted(found, key=lambda one: one.mean)
