"""The scripted cook `greedy`: divides the work with the other chefs, walks around them, and never stays stuck.

Each tick it lists the open work, gives every chef a goal (`coord.overcooked.chores`), plans a route for each chef in order of
priority through space and time (`coord.overcooked.planner`), and takes the first step of its own. Two greedy chefs in one
kitchen reach the same division from the same state. With anybody else it watches: a chef that makes no progress towards the
goal it was given loses credit, and without credit it is no longer counted on, only walked around.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from coord.agents import KitchenView, RowUniforms, Seeds
from coord.overcooked.chores import SOON, Scene, build_kit, divide_work
from coord.overcooked.layouts import MAX_PLAYERS
from coord.overcooked.planner import FAR, HORIZON, cells_to_go, find_route, is_clear, reserve, walk
from coord.overcooked.rules import COUNTER, FACING, FLOOR, HELD, INTERACT, NOTHING, PLAYER, POS, STAY

CREDIT_START, CREDIT_NEEDED, CREDIT_MAX = 8, 4, 12
WALL_AFTER = 10  # ticks without moving after which a chef that does not help counts as furniture
STILL_AFTER = 2  # ticks without moving after which a chef is expected to stay where it is
GUESS_TICKS = 2  # ticks for which a chef of unknown plans is expected to stay where it is
JAM_LIMIT = 3  # ticks of pressing against somebody before stepping aside at random


class Memory(NamedTuple):
    """What one player remembers of the last tick, per (kitchen, seat of the player); the last axis is the chef watched."""

    credit: np.ndarray  # int16 [N, P, P] how much a chef is counted on
    still: np.ndarray  # int16 [N, P, P] ticks since it changed its cell
    cell: np.ndarray  # int16 [N, P, P] where it was, -1 unknown
    held: np.ndarray  # int16 [N, P, P]
    goal: np.ndarray  # int16 [N, P, P] goal it was given
    gap: np.ndarray  # int16 [N, P, P] steps it had to go
    jam: np.ndarray  # int16 [N, P] ticks for which the player has tried to move in vain
    aim: np.ndarray  # int16 [N, P] cell the player tried to move to, -1 for none


def _new_memory(num_envs: int, num_players: int) -> Memory:
    pairs, singles = (num_envs, num_players, num_players), (num_envs, num_players)
    return Memory(*(np.zeros(pairs, np.int16) for _ in range(6)), *(np.zeros(singles, np.int16) for _ in range(2)))


class GreedyAgent:
    """The built-in partner `greedy`.

    `skill` in (0, 1] is the share of ticks in which it acts; in the others it pauses, as a slower player would.
    """

    def __init__(self, skill: float = 1.0) -> None:
        if not 0 < skill <= 1:
            raise ValueError(f"skill must be in (0, 1], got {skill}")
        self.agent_id = "greedy" if skill == 1 else f"greedy(skill={skill:g})"
        self._skill = skill
        self._kits: dict[tuple[str, str], object] = {}

    def start(self, num_envs: int, num_players: int, seed: Seeds) -> None:
        """See `Agent.start`."""
        self._uniforms = RowUniforms(num_envs, num_players, seed)
        self._memory = _new_memory(num_envs, num_players)
        self.begin_episode(np.arange(num_envs))

    def begin_episode(self, rows: np.ndarray) -> None:
        """See `Agent.begin_episode`."""
        self._memory.credit[rows] = CREDIT_START
        self._memory.still[rows] = 0
        self._memory.cell[rows] = -1
        self._memory.goal[rows] = -1
        self._memory.jam[rows] = 0
        self._memory.aim[rows] = -1

    def act(self, view: KitchenView, rows: np.ndarray, seats: np.ndarray) -> NDArray[np.int64]:
        """See `Agent.act`."""
        env = view.env
        luck = np.stack([self._uniforms.draw(rows, seats) for _ in range(2)], axis=1)  # [n, 2]
        acts = np.full(len(rows), STAY, np.int64)
        numbers = env.layout_index[rows]
        for number in np.unique(numbers):
            layout = env.layouts[number]
            key = (layout.hash, env.rules)
            if key not in self._kits:
                self._kits[key] = build_kit(layout, env.rules)
            chosen = np.flatnonzero(numbers == number)
            acts[chosen] = _decide_all(
                self._kits[key], env.state, self._memory, rows[chosen], seats[chosen], luck[chosen], self._skill
            )
        return acts


@njit(cache=True)
def _decide_all(kit, state, memory, rows, seats, luck, skill):
    """Actions int64 [n] for kitchens of one layout."""
    acts = np.empty(len(rows), np.int64)
    for n in range(len(rows)):
        acts[n] = _decide(kit, state[rows[n]], memory, rows[n], seats[n], luck[n], skill)
    return acts


@njit(cache=True)
def _decide(kit, packed, memory, n, me, luck, skill):
    """Action of seat `me` in kitchen `n`."""
    scene = _look(kit, packed, memory, n, me)
    _judge(kit, scene, memory, n, me)
    chores = divide_work(kit, scene)
    face = packed[PLAYER + 3 * me + FACING]
    act = _first_step(kit, scene, chores, packed, memory, n, me)
    if luck[0] >= skill:
        act = STAY
    elif memory.jam[n, me] >= JAM_LIMIT and luck[1] < 0.5:
        act = _step_aside(kit, scene, me, luck[1] * 2)
    _remember(kit, scene, chores, memory, n, me, act)
    return act


@njit(cache=True)
def _look(kit, packed, memory, n, me):
    """The scene of this tick, with the steps of every chef to everything around those who are only in the way."""
    seats = memory.jam.shape[1]
    cells = len(kit.terrain)
    cell, held = np.empty(seats, np.int64), np.empty(seats, np.int64)
    helps = np.ones(seats, np.bool_)
    open_floor = kit.plan.floor.copy()
    for i in range(seats):
        cell[i], held[i] = packed[PLAYER + 3 * i + POS], packed[PLAYER + 3 * i + HELD]
        if i != me:
            helps[i] = memory.credit[n, me, i] >= CREDIT_NEEDED
            if not helps[i] and memory.still[n, me, i] >= WALL_AFTER and cell[i] == memory.cell[n, me, i]:
                open_floor[cell[i]] = False
    dist = np.empty((seats, cells), np.int16)
    for i in range(seats):
        walk(kit.plan.facing, open_floor, cell[i], packed[PLAYER + 3 * i + FACING], dist[i])
    return Scene(packed, cell, held, dist, helps, memory.goal[n, me])


@njit(cache=True)
def _judge(kit, scene, memory, n, me):
    """Updates what the player thinks of every chef from what became of the goals of the last tick."""
    for i in range(len(scene.held)):
        before, goal = memory.cell[n, me, i], memory.goal[n, me, i]
        memory.still[n, me, i] = memory.still[n, me, i] + 1 if before == scene.cell[i] else 0
        if before < 0 or i == me:
            continue
        credit = memory.credit[n, me, i]
        if scene.held[i] != memory.held[n, me, i]:
            dropped = scene.held[i] == NOTHING and goal >= 0 and kit.terrain[goal] == COUNTER
            credit += 0 if dropped else 3
        elif goal >= 0:
            gap = memory.gap[n, me, i]
            closer = scene.dist[i, goal] < gap or (gap == 0 and scene.dist[i, goal] == 0)
            credit += 1 if closer else -1
        memory.credit[n, me, i] = min(max(credit, 0), CREDIT_MAX)
        scene.helps[i] = memory.credit[n, me, i] >= CREDIT_NEEDED
    tried = memory.aim[n, me]
    memory.jam[n, me] = memory.jam[n, me] + 1 if tried >= 0 and tried != scene.cell[me] else 0


@njit(cache=True)
def _remember(kit, scene, chores, memory, n, me, act):
    """Keeps this tick's goals for the next one."""
    for i in range(len(scene.held)):
        memory.cell[n, me, i], memory.held[n, me, i] = scene.cell[i], scene.held[i]
        memory.goal[n, me, i] = chores.goal[i]
        memory.gap[n, me, i] = scene.dist[i, chores.goal[i]] if chores.goal[i] >= 0 else 0
    ahead = kit.plan.facing[scene.cell[me], act] if act < STAY else scene.cell[me]
    memory.aim[n, me] = ahead if act < STAY and kit.plan.floor[ahead] else -1


# --------------------------------------------------------------------------- walking among others


@njit(cache=True)
def _rank(scene, chores, memory, n, me):
    """Order int64 [P] in which routes are planned: those who stand, then by ticks to their goal, then without one."""
    key = np.empty(len(scene.held))
    for i in range(len(key)):
        goal = chores.goal[i]
        key[i] = 2.0 * FAR if goal < 0 else max(scene.dist[i, goal], chores.wait[i])
        if i != me and _stands(scene, chores, memory, n, me, i):
            key[i] = -1.0
    return np.argsort(key, kind="mergesort")


@njit(cache=True)
def _stands(scene, chores, memory, n, me, i):
    """Whether chef `i` is expected to stay where it is rather than to follow its goal."""
    idle = chores.goal[i] >= 0 and scene.dist[i, chores.goal[i]] > 0 and memory.still[n, me, i] >= STILL_AFTER
    return not scene.helps[i] or idle


@njit(cache=True)
def _plan_one(kit, scene, chores, packed, busy, i, route):
    """Route of chef `i` around the reserved ones; see `find_route` for what it returns."""
    start = 4 * scene.cell[i] + packed[PLAYER + 3 * i + FACING]
    away = np.zeros(len(kit.terrain), np.int16)
    goal = chores.goal[i]
    if goal >= 0:
        cells_to_go(kit.plan.facing, kit.plan.floor, goal, away)
    return find_route(kit.plan.facing, kit.plan.floor, busy, start, goal, away, route)


@njit(cache=True)
def _first_step(kit, scene, chores, packed, memory, n, me):
    """Action of `me` when all follow their routes: interact on arrival, else the first step or turn."""
    order = _rank(scene, chores, memory, n, me)
    busy = np.zeros((HORIZON + 1, len(kit.terrain)), np.int8)
    route = np.empty(HORIZON + 1, np.int16)
    for i in order:
        if i != me and _stands(scene, chores, memory, n, me, i):
            route[:] = 4 * scene.cell[i]
            patience = HORIZON if memory.still[n, me, i] >= STILL_AFTER else GUESS_TICKS
            reserve(busy, route, patience, i + 1)
            continue
        arrival = _plan_one(kit, scene, chores, packed, busy, i, route)
        if arrival < 0:
            route[:] = 4 * scene.cell[i]
        if i == me:
            break
        reserve(busy, route, max(arrival, 0) + 1, i + 1)
    pose = 4 * scene.cell[me] + packed[PLAYER + 3 * me + FACING]
    goal = chores.goal[me]
    if goal >= 0 and kit.plan.facing[pose // 4, pose % 4] == goal and chores.wait[me] == 0:
        return INTERACT
    return STAY if route[1] == pose else route[1] % 4


@njit(cache=True)
def _step_aside(kit, scene, me, luck):
    """A random step to a free neighbour cell, or stay if there is none."""
    for n in range(4):
        press = (int(luck * 4) + n) % 4
        to = kit.plan.facing[scene.cell[me], press]
        if kit.plan.floor[to] and not (scene.cell == to).any():
            return press
    return STAY
