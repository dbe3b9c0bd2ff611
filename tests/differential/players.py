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
MODES = (  # in this order: full hands before full counters leave nothing to do
    *("half_pots", "trash", "chase", "copy", "half_pots"),
    *("collect", "trash", "half_pots", "trash", "clutter"),
)
MODE_TICKS = 40  # a nuisance keeps to one mode
GOAL_TICKS = 10


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
    """Mischief by turns (MODES); one action in five is random."""
    kitchen = Tiles(reference.kitchen.terrain_mtx)
    joint_act = []
    for seat, chef in enumerate(state.players):
        mode = MODES[(state.timestep // MODE_TICKS + seat % 2) % len(MODES)]
        if rng.random() < 0.2:
            joint_act.append(int(rng.integers(6)))
        elif mode == "chase":
            joint_act.append(kitchen.act_into(chef, state.players[seat - 1], rng))
        else:
            joint_act.append(kitchen.act_towards(chef, [mischief_goal(kitchen, state, seat, mode)], rng))
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


def mischief_goal(kitchen: Tiles, state: Any, seat: int, mode: str) -> tuple[int, int]:
    """The tile that a nuisance uses next; it loses interest every GOAL_TICKS."""
    slot = state.timestep // GOAL_TICKS
    held = state.players[seat].held_object
    if mode == "copy":  # everybody reaches for one and the same tile
        goals, seat = kitchen.all_of("XOTDPS"), 0
    elif held is None:
        goals = _mischief_for_empty_hands(kitchen, state, mode)
    elif held.name == "soup":  # served whether it is wanted or not, or left lying about
        goals = kitchen.all_of("S" if slot % 2 and mode != "clutter" else "X")
    elif mode == "clutter":
        goals = [tile for tile in kitchen.all_of("X") if tile not in state.objects] or kitchen.all_of("P")
    elif held.name == "dish":  # a soup to carry about, if there is one
        goals = [pot for pot in kitchen.all_of("P") if pot in state.objects and state.objects[pot].is_ready]
        goals = goals or kitchen.all_of("XPS")
    else:
        goals = kitchen.all_of("P" if slot % 4 else "X")
    return goals[(7 * slot + 3 * seat) % len(goals)]


def _mischief_for_empty_hands(kitchen: Tiles, state: Any, mode: str) -> list[tuple[int, int]]:
    if mode == "collect" and state.objects:
        return list(state.objects)
    if mode == "half_pots":  # start pots after one or two ingredients, which may be any
        idle = [pot for pot in kitchen.all_of("P") if pot in state.objects and state.objects[pot].is_idle]
        amount = 1 + state.timestep // MODE_TICKS % 2
        return [pot for pot in idle if len(state.objects[pot].ingredients) >= amount] or kitchen.all_of("OT")
    return kitchen.all_of("D" if mode == "trash" else "OTD")


def _touches(here: set, tile: tuple[int, int]) -> bool:
    return any((tile[0] + dx, tile[1] + dy) in here for dx, dy in STEPS)


def _shared(kitchen: Tiles, state: Any, tile: tuple[int, int]) -> bool:
    """Whether every chef can stand beside the tile."""
    far = distances(kitchen.rows, tile)
    return all(chef.position in far for chef in state.players)
