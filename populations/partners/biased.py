"""Biased partners: cooks that are fond of some tasks, avoid others, and do not care what a soup needs.

In each episode a partner draws how much it likes each kind of station (dispensers, pots, the hatch, free counters,
things that lie about), and refuses some kinds altogether. It goes to a station it can use with what it holds, near
ones rather than far ones, interacts, and chooses again; where somebody stands in its way it insists for as long as it
is patient, and then gives up its errand or steps aside. Hoarders of dishes, cooks who never serve, and chefs who block
a corridor come about in numbers for which a pool of trained partners (`populations.methods.hsp`) would have to be very
large.

An ego that meets them learns what no partner of a pool demands of it: to do what is left undone, and to give way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numba as nb
import numpy as np

from coord import seeding
from coord.agents.views import KitchenView
from coord.compile_cache import EXACT
from coord.overcooked.packed_row import (
    CONTENT,
    COUNTER,
    DISH,
    DISH_DISPENSER,
    FACING,
    HELD,
    INTERACT,
    NOTHING,
    ONION,
    PLAYER,
    POS,
    POT,
    SEQ_MASK,
    SERVING,
    SOUP,
    TOMATO,
    cooking_tick,
)
from coord.overcooked.planner import FAR, walk
from coord.overcooked.task_allocation.kitchen import Kit, build_kit

FETCH, FILL, PLATE, SERVE, PUT_DOWN, PICK_UP, LINGER = range(7)  # kinds of errand
KINDS = 7
FULL = 8  # least ingredient sequence of three
INGREDIENT, CROCKERY = range(2)  # what FETCH and PICK_UP may be for
SENSE = (0.0, 1.0, 1.0, 2.0, -1.5, -1.5, -1.0)  # log-weights of the errands of a sensible cook
FONDNESS = 3.0  # largest deviation of log-weights from these, drawn uniformly from 0 on
REFUSES = 0.25  # probability of refusing an errand
NEAR = 4.0  # ticks of walking that make an errand e times less attractive
PATIENCE = (2, 60)  # ticks that a partner pushes on or waits, drawn log-uniformly


class Biases(NamedTuple):
    """What a partner is like, and what it is about to do; per (kitchen, seat)."""

    like: np.ndarray  # float64 [N, P, KINDS, 2] weights of errands, by what they are for
    patience: np.ndarray  # int64 [N, P]
    goal: np.ndarray  # int64 [N, P] cell it is going to, -1: it has to choose
    held: np.ndarray  # int64 [N, P] what it held when it chose
    waited: np.ndarray  # int64 [N, P] ticks in which it came no nearer
    last: np.ndarray  # int64 [N, P] steps to go, a tick ago


@nb.njit(**EXACT)
def way_table(facing, floor):  # type: ignore[no-untyped-def]
    """int16 [4 C, C]: steps from each pose on the floor [C] until it faces each cell, walking as if alone."""
    table = np.full((4 * len(floor), len(floor)), FAR, np.int16)
    for pose in range(len(table)):
        if floor[pose // 4]:
            walk(facing, floor, pose // 4, pose % 4, table[pose])
    return table


@nb.njit(**EXACT)
def errand(terrain, inside, held):  # type: ignore[no-untyped-def]
    """(kind, purpose) of an interaction with a station by somebody who holds that; (-1, 0) for a useless one."""
    if terrain == COUNTER:
        if held == NOTHING and inside != NOTHING:
            return PICK_UP, int(inside == DISH or inside >= SOUP)
        if held != NOTHING and inside == NOTHING:
            return PUT_DOWN, int(held == DISH or held >= SOUP)
        return -1, 0
    if terrain == POT:
        cooks = inside != NOTHING and cooking_tick(inside) >= 0
        if held in (ONION, TOMATO):
            return (-1, 0) if cooks or inside & SEQ_MASK >= FULL else (FILL, INGREDIENT)
        return (PLATE, CROCKERY) if held == DISH and cooks else (-1, 0)
    if terrain == SERVING:
        return (SERVE, CROCKERY) if held >= SOUP else (-1, 0)
    return (FETCH, int(terrain == DISH_DISPENSER)) if held == NOTHING else (-1, 0)


@nb.njit(**EXACT)
def choose(terrain, stations, way, row, pose, held, like, luck):  # type: ignore[no-untyped-def]
    """A station drawn with its weight; any that can be reached if none is liked."""
    weight = np.zeros(len(stations))
    for s in range(len(stations)):
        cell = stations[s]
        steps = way[pose, cell]
        if steps >= FAR:
            continue
        kind, purpose = errand(terrain[cell], row[CONTENT + cell], held)
        liking = like[LINGER, 0] / len(stations) if kind < 0 else like[kind, purpose]
        weight[s] = (liking + 1e-6) * np.exp(-steps / NEAR)
    point, total = luck * weight.sum(), 0.0
    for s in range(len(stations)):
        total += weight[s]
        if point < total:
            return stations[s]
    return stations[len(stations) - 1]


@nb.njit(**EXACT)
def towards(facing, floor, way, pose, goal, luck):  # type: ignore[no-untyped-def]
    """The press that brings a chef nearer to facing the goal, a random one of equally good ones; the interaction."""
    if way[pose, goal] == 0:
        return INTERACT
    after = np.empty(4, np.int64)
    for press in range(4):
        to = facing[pose // 4, press]
        after[press] = way[4 * (to if floor[to] else pose // 4) + press, goal]
    best = np.flatnonzero(after == after.min())
    return best[int(luck * len(best))]


@nb.njit(**EXACT)
def act(kit_terrain, stations, facing, floor, way, state, biases, kitchens, seats, luck, out):  # type: ignore[no-untyped-def]
    """One tick of every seat; luck float64 [n, 3] in [0, 1)."""
    like, patience, goal, was, waited, last = biases
    for n in range(len(kitchens)):
        row, seat = state[kitchens[n]], seats[n]
        at = kitchens[n], seat
        chef = PLAYER + 3 * seat
        pose, held = 4 * row[chef + POS] + row[chef + FACING], row[chef + HELD]
        if goal[at] >= 0:
            steps = way[pose, goal[at]]
            waited[at] = 0 if steps < last[at] else waited[at] + 1
            last[at] = steps
            if held != was[at] or waited[at] > patience[at]:
                gave_up = held == was[at]
                goal[at] = -1
                if gave_up and luck[n, 2] < 0.5:  # steps aside before it thinks of something else
                    out[n] = int(luck[n, 2] * 8)
                    continue
        if goal[at] < 0:
            goal[at] = choose(kit_terrain, stations, way, row, pose, held, like[at], luck[n, 0])
            was[at], waited[at], last[at] = held, 0, FAR
        out[n] = towards(facing, floor, way, pose, goal[at], luck[n, 1])


class BiasedPartners:
    """`Partners` of one row: somebody else in every episode. Kitchens must be of one layout."""

    size = 1

    def __init__(self) -> None:
        self._kit: Kit | None = None

    def start(self, num_envs: int, num_players: int, seed: int) -> None:
        """See `Partners.start`."""
        self._rng = seeding.rng(seed, "whims")  # a stream's name decides its numbers
        shape = (num_envs, num_players)
        counts = [np.zeros(shape, np.int64) for _ in range(5)]
        self.biases = Biases(np.ones((*shape, KINDS, 2)), *counts)
        self.begin_episode(np.arange(num_envs))

    def begin_episode(self, kitchens: np.ndarray) -> None:
        """Draws who comes."""
        biases, rng = self.biases, self._rng
        shape = (len(kitchens), biases.goal.shape[1])
        bias = rng.uniform(0, FONDNESS, (*shape, 1, 1)) * rng.standard_normal((*shape, KINDS, 2))
        like = np.exp(np.array(SENSE)[:, None] + bias)
        biases.like[kitchens] = like * (rng.random((*shape, KINDS, 2)) >= REFUSES)
        low, high = np.log(PATIENCE)
        biases.patience[kitchens] = np.exp(rng.uniform(low, high, shape)).astype(np.int64)
        biases.goal[kitchens] = -1

    def act(self, view: KitchenView, kitchens: np.ndarray, seats: np.ndarray, partner: np.ndarray) -> np.ndarray:
        """See `Partners.act`."""
        env = view.env
        if self._kit is None:
            self._kit = build_kit(env.layouts[0], env.rules)
            self._way = way_table(self._kit.plan.facing, self._kit.plan.floor)
        kit, out = self._kit, np.empty(len(kitchens), np.int64)
        luck = self._rng.random((len(kitchens), 3))
        act(
            kit.terrain, kit.stations, kit.plan.facing, kit.plan.floor, self._way, env.state,
            tuple(self.biases), kitchens, seats, luck, out,
        )  # fmt: skip
        return out

    def get_state(self) -> dict[str, np.ndarray]:
        """See `Partners.get_state`."""
        return {k: v.copy() for k, v in self.biases._asdict().items()} | {"rng": seeding.to_bytes(self._rng)}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """See `Partners.set_state`."""
        for name, values in self.biases._asdict().items():
            values[:] = state[name]
        seeding.from_bytes(self._rng, state["rng"])
