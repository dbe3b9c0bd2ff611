"""What the allocation of tasks knows: tables of a layout, the present scene, and what is open and given out."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from coord.overcooked.layouts import RECIPES, Layout
from coord.overcooked.packed_row import (
    DISH_DISPENSER,
    ONION_DISPENSER,
    POT,
    SERVING,
    Tables,
    build_tables,
    ingredients_of,
)
from coord.overcooked.planner import FAR, Floorplan, build_floorplan

TO_POT, TO_SERVING, TO_POT_K = 0, 1, 2  # rows of Allocation.hop; from TO_POT_K on, one for each pot
SOON = 99  # ticks to wait for something whose time is not known yet


class Kit(NamedTuple):
    """What never changes in a layout under one rule set; C cells, K pots."""

    plan: Floorplan
    terrain: np.ndarray  # int8 [C]
    stations: np.ndarray  # int16 [...] cells other than floor that a chef can face
    pots: np.ndarray  # int16 [K]
    cook_time: np.ndarray  # int16 [16] by ingredient sequence
    mix: np.ndarray  # int8 [16, 2] onions and tomatoes of each ingredient sequence
    aim: np.ndarray  # int8 [4, 4, 4, 2] by supply, onions and tomatoes in the pot: what it should hold in the end
    worth: np.ndarray  # float32 [4, 4, 4] points per tick of that aim, 0 if nothing paid can come of it
    classic: bool  # pots start by themselves, and hold one kind of ingredient


class Scene(NamedTuple):
    """The present state as one player sees it; P seats."""

    row: np.ndarray  # int16 [S] packed row
    pose: np.ndarray  # int64 [P] cell * 4 + orientation
    cell: np.ndarray  # int64 [P]
    held: np.ndarray  # int64 [P] object code
    dist: np.ndarray  # int16 [P, C] steps until the chef faces each cell, FAR if it cannot
    helps: np.ndarray  # bool [P] whether the chef is counted on to do its share
    last: np.ndarray  # int16 [P] goal given at the previous tick


class Allocation(NamedTuple):
    """Open work and who took it."""

    goal: np.ndarray  # int64 [P] cell to interact with, -1 for none
    wait: np.ndarray  # int64 [P] ticks until that has an effect
    lack: np.ndarray  # int64 [K, 2] onions and tomatoes to add now
    later: np.ndarray  # int64 [K, 2] and once the present soup is out
    left: np.ndarray  # int64 [K] ticks until the soup is ready, -1 while idle
    plate: np.ndarray  # int64 [K] 1: a soup cooks or is ready and nobody brings a dish; 2: it is being filled
    start: np.ndarray  # bool [K] holds what it should and must be started
    taken: np.ndarray  # bool [C] counters somebody is on the way to
    hop: np.ndarray  # int64 [2 + K, P] hand-overs to the nearest pot, to the serving hatch, and to each pot
    starved: np.ndarray  # bool [K, 3] whether who reaches the pot can fetch no onion, tomato, dish
    supply: np.ndarray  # int64 [1] ingredients that can be had: bit 0 onions, bit 1 tomatoes


def build_kit(layout: Layout, rules: str) -> Kit:
    """Tables of one layout under `rules`."""
    tab = build_tables([layout], rules)
    terrain = tab.terrain[0]
    plan = build_floorplan(terrain, tab.facing[0])
    stations = np.array([cell for cell in range(len(terrain)) if (plan.leg[:, cell, cell] == 0).any()], np.int16)
    mix = [[ingredients_of(seq).count(name) if seq > 1 else 0 for name in ("onion", "tomato")] for seq in range(16)]
    rate = _recipe_rates(layout, tab, plan, rules)
    aim, worth = np.zeros((4, 4, 4, 2), np.int8), np.zeros((4, 4, 4), np.float32)
    for supply in range(4):
        for onions, tomatoes in itertools.product(range(4), repeat=2):
            best = _best_aim(rate, (supply & 1, supply >> 1), (onions, tomatoes))
            worth[supply, onions, tomatoes], aim[supply, onions, tomatoes] = best
    kinds = np.array(mix, np.int8)
    return Kit(plan, terrain, stations, tab.pots[0], tab.cook_time[0], kinds, aim, worth, rules == "classic")


def _trip(plan: Floorplan, terrain: np.ndarray, kind: int, goal: int) -> float:
    """Steps between the closest pair of the two kinds of station; a long walk's worth if no room holds both."""
    legs = plan.leg[:, terrain == kind][:, :, terrain == goal]
    nearest = legs.min() if legs.size else FAR
    return float(nearest) if nearest < FAR else 8.0


def _recipe_rates(layout: Layout, tab: Tables, plan: Floorplan, rules: str) -> dict[tuple[int, int], float]:
    """Points per tick of each paid mix (onions, tomatoes): its value over the slower of pots and chefs."""
    terrain = tab.terrain[0]
    served = 2 + _trip(plan, terrain, DISH_DISPENSER, POT) + _trip(plan, terrain, POT, SERVING)
    rate = {}
    for seq in range(2, 16):
        recipe = RECIPES[tab.recipe[seq]]
        value = float(tab.value[0, seq])
        if rules != "classic":
            value *= layout.order_bonus if recipe in layout.bonus_orders else recipe in layout.all_orders
        filling = sum(2 + 2 * _trip(plan, terrain, ONION_DISPENSER + (name == "tomato"), POT) for name in recipe)
        pots = (float(tab.cook_time[0, seq]) + filling / 2 + 3) / len(tab.pots[0])
        chefs = (filling + served) / layout.num_players
        if value > 0:
            rate[recipe.count("onion"), recipe.count("tomato")] = min(value, 1e6) / max(pots, chefs)
    return rate


def _best_aim(
    rate: dict[tuple[int, int], float], supply: tuple[int, int], inside: tuple[int, int]
) -> tuple[float, tuple[int, int]]:
    """(worth, mix) of the best paid mix that this content can still become with the ingredients that can be had.

    Content of which nothing paid can come is left as it is: to be started at once, or (classic) for who has the rest.
    """
    paid = []
    for mix, value in rate.items():
        extra = [mix[x] - inside[x] for x in range(2)]
        if min(extra) >= 0 and all(extra[x] == 0 or supply[x] for x in range(2)):
            paid.append((value, mix))
    return max(paid) if paid else (0.0, inside)
