"""Three ways to play the reference: at random, sensibly, and so as to provoke rare rules.

A player is a function (reference, state, generator) -> joint action. It sees only the reference, so what it
does cannot depend on the code under test.
"""

from __future__ import annotations

from collections import deque
from functools import lru_cache
from typing import Any

import numpy as np

STEPS = ((0, -1), (0, 1), (1, 0), (-1, 0))  # north, south, east, west
STAY, INTERACT = 4, 5
INGREDIENTS = {"onion": "O", "tomato": "T"}
MODES = ("clutter", "collect", "half_pots", "chase", "copy", "trash")
MODE_TICKS = 40


def play_random(reference: Any, state: Any, rng: np.random.Generator) -> list[int]:
    """Uniform actions, with interactions twice as likely as any other."""
    return [min(int(act), INTERACT) for act in rng.integers(7, size=reference.num_players)]


def play_sensibly(reference: Any, state: Any, rng: np.random.Generator) -> list[int]:
    """Cook and serve. One action in eight is random, and so is everyone whose way is blocked."""
    kitchen = Tiles(reference.kitchen.terrain_mtx, state.player_positions)
    joint_act = []
    for seat, chef in enumerate(state.players):
        if rng.random() < 0.125:
            joint_act.append(int(rng.integers(6)))
        else:
            goals = sensible_goals(kitchen, state, seat, rng)
            joint_act.append(kitchen.act_towards(chef, goals, rng))
    return joint_act


def play_adversarially(reference: Any, state: Any, rng: np.random.Generator) -> list[int]:
    """Mischief by turns (MODES); one action in ten is random."""
    kitchen = Tiles(reference.kitchen.terrain_mtx)
    joint_act = []
    for seat, chef in enumerate(state.players):
        mode = MODES[(state.timestep // MODE_TICKS + seat * int(rng.integers(2))) % len(MODES)]
        if rng.random() < 0.1:
            joint_act.append(int(rng.integers(6)))
        elif mode == "chase":
            joint_act.append(kitchen.act_into(chef, state.players[seat - 1], rng))
        else:
            joint_act.append(kitchen.act_towards(chef, mischief_goals(kitchen, state, seat, mode, rng), rng))
    return joint_act


class Tiles:
    """A kitchen's tiles with walking distances; `taken` are tiles to avoid. Positions are (x, y)."""

    def __init__(self, terrain: list[list[str]], taken: tuple[tuple[int, int], ...] = ()) -> None:
        self.rows = tuple("".join(row) for row in terrain)
        self.taken = taken

    def all_of(self, kinds: str) -> list[tuple[int, int]]:
        return [(x, y) for y, row in enumerate(self.rows) for x, tile in enumerate(row) if tile in kinds]

    def act_towards(self, chef: Any, goals: list[tuple[int, int]], rng: np.random.Generator) -> int:
        """Next action on a shortest way to using the nearest goal; stay if none is within reach."""
        maps = [distances(self.rows, goal) for goal in goals]
        near = [(far[chef.position], goal, far) for goal, far in zip(goals, maps, strict=True) if chef.position in far]
        if not near:
            return STAY
        _, goal, far = min(near, key=lambda entry: entry[0])
        if far[chef.position] > 1:
            return self._closer(chef.position, far, rng)
        facing = tuple(np.subtract(goal, chef.position))
        return INTERACT if chef.orientation == facing else STEPS.index(facing)

    def act_into(self, chef: Any, other: Any, rng: np.random.Generator) -> int:
        """Walk at another chef, onto its tile if adjacent."""
        far = distances(self.rows, other.position)
        return self._closer(chef.position, far, rng) if chef.position in far else int(rng.integers(6))

    def _closer(self, position: tuple[int, int], far: dict, rng: np.random.Generator) -> int:
        tiles = [(position[0] + dx, position[1] + dy) for dx, dy in STEPS]
        steps = [i for i, tile in enumerate(tiles) if far.get(tile, np.inf) < far[position]]
        free = [i for i in steps if tiles[i] not in self.taken]
        return int(rng.choice(free)) if free else int(rng.integers(4))


@lru_cache(maxsize=4096)
def distances(rows: tuple[str, ...], goal: tuple[int, int]) -> dict[tuple[int, int], int]:
    """Steps from every floor tile that leads to `goal` (1 = adjacent); the goal itself counts 0."""
    far, queue = {goal: 0}, deque([goal])
    while queue:
        x, y = queue.popleft()
        for dx, dy in STEPS:
            tile = (x + dx, y + dy)
            inside = 0 <= tile[1] < len(rows) and 0 <= tile[0] < len(rows[0])
            if inside and tile not in far and rows[tile[1]][tile[0]] == " ":
                far[tile] = far[x, y] + 1
                queue.append(tile)
    return far


def sensible_goals(kitchen: Tiles, state: Any, seat: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Tiles that a helpful cook would use next."""
    chef = state.players[seat]
    here = set(distances(kitchen.rows, chef.position))
    held = chef.held_object.name if chef.held_object else None
    pots = {pot: state.objects.get(pot) for pot in kitchen.all_of("P")}
    if held is None:
        goals = _errands(kitchen, state, pots, rng)
    elif held == "soup":
        goals = kitchen.all_of("S")
    elif held == "dish":
        goals = [pot for pot, soup in pots.items() if soup and not soup.is_idle]
    else:
        goals = [pot for pot, soup in pots.items() if _fits(state, soup, held)]
    if held and not any(_touches(here, goal) for goal in goals):
        goals = [tile for tile in kitchen.all_of("X") if tile not in state.objects]
        goals = [tile for tile in goals if _shared(kitchen, state, tile)] or goals
    return goals


def _errands(kitchen: Tiles, state: Any, pots: dict, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Where empty hands help: start a pot with an ordered soup, fetch a dish, fetch what pots lack."""
    recipes = [order.ingredients for order in state.all_orders]
    idle = [pot for pot, soup in pots.items() if soup and soup.is_idle]
    startable = [pot for pot in idle if tuple(sorted(pots[pot].ingredients)) in recipes]
    if any(len(pots[pot].ingredients) == 3 for pot in idle) or (startable and rng.random() < 0.3):
        return [pot for pot in idle if len(pots[pot].ingredients) == 3] or startable
    wanted = "dish" if any(soup and not soup.is_idle for soup in pots.values()) and rng.random() < 0.7 else None
    fitting = [name for name in INGREDIENTS if any(_fits(state, soup, name) for soup in pots.values())]
    wanted = wanted or str(rng.choice(fitting or ["dish"]))
    lying = [tile for tile, thing in state.objects.items() if thing.name in (wanted, "soup") and tile not in pots]
    return kitchen.all_of(INGREDIENTS.get(wanted, "D")) + lying


def _fits(state: Any, soup: Any, ingredient: str) -> bool:
    """Whether a pot (its soup, or None) can still become an ordered soup after taking in the ingredient."""
    if soup and not soup.is_idle:
        return False
    have = [*(soup.ingredients if soup else []), ingredient]
    return any(all(have.count(name) <= order.ingredients.count(name) for name in have) for order in state.all_orders)


def mischief_goals(kitchen: Tiles, state: Any, seat: int, mode: str, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Tiles that a nuisance would use next."""
    chef = state.players[seat]
    counters = kitchen.all_of("X")
    if mode == "copy":  # everybody reaches for one and the same tile
        tiles = kitchen.all_of("XOTDPS")
        return [tiles[(state.timestep // MODE_TICKS * 7 + 3) % len(tiles)]]
    if mode == "collect":
        return list(state.objects) if chef.held_object is None else kitchen.all_of("PS")
    if mode == "half_pots":  # one or two ingredients, then an empty hand on the pot
        idle = [pot for pot in kitchen.all_of("P") if pot in state.objects and state.objects[pot].is_idle]
        return kitchen.all_of("P") if chef.held_object else idle or kitchen.all_of("OTD")
    if mode == "trash":  # any soup, wanted or not, to the hatch; dishes to pots
        return kitchen.all_of("PS" if chef.held_object else "DP")
    free = [tile for tile in counters if tile not in state.objects]
    return free or counters if chef.held_object else kitchen.all_of("OTD")


def _touches(here: set, tile: tuple[int, int]) -> bool:
    return any((tile[0] + dx, tile[1] + dy) in here for dx, dy in STEPS)


def _shared(kitchen: Tiles, state: Any, tile: tuple[int, int]) -> bool:
    """Whether every chef can stand beside the tile."""
    far = distances(kitchen.rows, tile)
    return all(chef.position in far for chef in state.players)
