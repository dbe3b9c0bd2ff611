"""The scripted cook `greedy`: divides the work with the other chefs, and walks around them.

Each tick it lists the open work, gives every chef a goal (`coord.overcooked.task_allocation`), plans a route for each
chef in order of urgency through space and time (`coord.overcooked.planner`), and takes the first step of its own. Two
greedy chefs in one kitchen reach the same division from the same state. With anybody else it watches: a chef that makes
no progress towards the goal it was given loses credit, and without credit it is no longer counted on, only walked
around. Two of it score in every packaged kitchen and in the first 200 generated ones under both rule sets (a test plays
them); kitchens in which they lock each other out for good exist all the same: a corridor in which neither can pass, one
with a soup and one with an ingredient in hand and every counter between them full.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from coord.agents.players import RowUniforms
from coord.agents.views import KitchenView, Seeds
from coord.overcooked.compiled import compiled
from coord.overcooked.layouts import Layout
from coord.overcooked.packed_row import COUNTER, FACING, HELD, INTERACT, PLAYER, POS, STAY, Array
from coord.overcooked.planner import (
    FAR,
    HORIZON,
    cells_to_go,
    find_route,
    inner,
    inner_alloc,
    keep_order,
    reserve,
    walk,
)
from coord.overcooked.task_allocation.allocate import allocate_tasks
from coord.overcooked.task_allocation.kitchen import Allocation, Kit, Scene, build_kit

CREDIT_START, CREDIT_NEEDED, CREDIT_MAX = 8, 4, 12  # ticks of progress
DUE = -1  # in place of steps to go: the next action should have been the interaction itself
WALL_AFTER = 10  # ticks without moving after which a chef that does not help counts as furniture
STILL_AFTER = 2  # ticks without moving after which a chef is expected to stay where it is
GUESS_TICKS = 2  # ticks for which a chef of unknown plans is expected to stay where it is
LOCKED_AFTER = 10  # the same, before one who is in the way of another's step aside may pause
STUCK_AFTER = 5  # ticks in which nothing moves, though the goal is not reached, before stepping aside at random


class CookMemory(NamedTuple):
    """What one player remembers of the last tick, per (kitchen, its seat); the last axis is the chef watched."""

    credit: np.ndarray  # int16 [N, P, P] how much a chef is counted on
    still: np.ndarray  # int16 [N, P, P] ticks since it changed its cell
    pose: np.ndarray  # int16 [N, P, P] cell * 4 + orientation, -1 unknown
    held: np.ndarray  # int16 [N, P, P]
    goal: np.ndarray  # int16 [N, P, P] goal it was given
    gap: np.ndarray  # int16 [N, P, P] steps it had to go, DUE if it was to interact
    next: np.ndarray  # int16 [N, P, P] pose that the plan foresaw for this tick
    stuck: np.ndarray  # int16 [N, P] ticks with a way to go in which no chef that helps did anything


def _new_memory(num_envs: int, num_players: int) -> CookMemory:
    pairs = (num_envs, num_players, num_players)
    shapes = [pairs if name != "stuck" else pairs[:2] for name in CookMemory._fields]
    return CookMemory._make(np.zeros(shape, np.int16) for shape in shapes)


class GreedyAgent:
    """The built-in partner `greedy`.

    `skill` in (0, 1] is the share of ticks in which it acts; in the others it pauses, as a slower player would.
    """

    def __init__(self, skill: float = 1.0) -> None:
        if not 0 < skill <= 1:
            raise ValueError(f"skill must be in (0, 1], got {skill}")
        self.agent_id = "greedy" if skill == 1 else f"greedy(skill={skill:g})"
        self._skill = skill
        self._kits: dict[tuple[Layout, str], Kit] = {}

    def start(self, num_envs: int, num_players: int, seed: Seeds) -> None:
        """See `Agent.start`."""
        self._uniforms = RowUniforms(num_envs, num_players, seed)
        self._memory = _new_memory(num_envs, num_players)
        self.begin_episode(np.arange(num_envs))

    def begin_episode(self, rows: np.ndarray) -> None:
        """See `Agent.begin_episode`."""
        self._memory.credit[rows] = CREDIT_START
        self._memory.still[rows] = 0
        self._memory.pose[rows] = -1
        self._memory.goal[rows] = -1
        self._memory.stuck[rows] = 0

    def act(self, view: KitchenView, rows: np.ndarray, seats: np.ndarray) -> NDArray[np.int64]:
        """See `Agent.act`."""
        env = view.env
        luck = np.stack([self._uniforms.draw(rows, seats) for _ in range(2)], axis=1)  # [n, 2]
        acts = np.full(len(rows), STAY, np.int64)
        numbers = env.layout_index[rows]
        for number in np.unique(numbers):
            key = (env.layouts[number], env.rules)
            if key not in self._kits:
                self._kits[key] = build_kit(*key)
            n = np.flatnonzero(numbers == number)
            acts[n] = _decide(self._kits[key], env.state, self._memory, rows[n], seats[n], luck[n], self._skill)
        return acts

    def get_state(self) -> dict[str, np.ndarray]:
        """Everything remembered, for exact resume."""
        return self._uniforms.get_state() | {k: v.copy() for k, v in self._memory._asdict().items()}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Inverse of `get_state`, after `start`."""
        self._uniforms.set_state(state)
        for name, values in self._memory._asdict().items():
            values[:] = state[name]


@compiled(nogil=True)
def _decide(kit: Kit, state: Array, memory: CookMemory, rows: Array, seats: Array, luck: Array, skill: float) -> Array:
    """Actions int64 [n] for kitchens of one layout; luck float64 [n, 2] in [0, 1)."""
    acts = np.empty(len(rows), np.int64)
    for n in range(len(rows)):
        row, me = rows[n], seats[n]
        scene = _look(kit, state[row], memory, row, me)
        _judge(kit, scene, memory, row, me)
        tasks = allocate_tasks(kit, scene)
        _plan_routes(kit, scene, tasks, memory, row, me)
        acts[n] = _act_on_plan(kit, scene, tasks, memory, row, me)
        if luck[n, 0] >= skill:
            acts[n] = STAY
        elif memory.stuck[row, me] >= STUCK_AFTER and luck[n, 1] < 0.5:
            acts[n] = _step_aside(kit, scene, me, luck[n, 1] * 2)
        elif memory.stuck[row, me] >= LOCKED_AFTER and luck[n, 1] < 0.75:
            acts[n] = STAY
        _remember(scene, tasks, memory, row, me)
    return acts


@inner_alloc
def _look(kit: Kit, packed: Array, memory: CookMemory, n: int, me: int) -> Scene:
    """The scene of this tick, with the steps of every chef to everything around those who are only in the way."""
    seats = memory.stuck.shape[1]
    pose, held = np.empty(seats, np.int64), np.empty(seats, np.int64)
    helps = np.ones(seats, np.bool_)
    open_floor = kit.plan.floor.copy()
    for i in range(seats):
        chef = PLAYER + 3 * i
        pose[i], held[i] = 4 * packed[chef + POS] + packed[chef + FACING], packed[chef + HELD]
        if memory.still[n, me, i] >= WALL_AFTER and memory.credit[n, me, i] < CREDIT_NEEDED:
            open_floor[pose[i] // 4] = i == me
    dist = np.empty((seats, len(kit.terrain)), np.int16)
    cell = pose // 4
    for i in range(seats):
        mine = open_floor.copy()
        keep_order(kit.plan, cell, i, mine)
        walk(kit.plan.facing, mine, cell[i], pose[i] % 4, dist[i])
    return Scene(packed, pose, cell, held, dist, helps, memory.goal[n, me])


@inner
def _judge(kit: Kit, scene: Scene, memory: CookMemory, n: int, me: int) -> None:
    """Updates from what became of the last tick's plan: everyone's credit, how long they stand, and `stuck`."""
    known = memory.pose[n, me, me] >= 0
    live = not known
    for i in range(len(scene.held)):
        same = memory.pose[n, me, i] == scene.pose[i] and memory.held[n, me, i] == scene.held[i]
        moved = memory.pose[n, me, i] // 4 != scene.cell[i]
        memory.still[n, me, i] = 0 if moved or not known else memory.still[n, me, i] + 1
        if known and i != me:
            gain = _credit_for(kit, scene, memory, n, me, i, same)
            memory.credit[n, me, i] = min(max(memory.credit[n, me, i] + gain, 0), CREDIT_MAX)
        scene.helps[i] = i == me or memory.credit[n, me, i] >= CREDIT_NEEDED
        live = live or (scene.helps[i] and not same)
    memory.stuck[n, me] = 0 if live or memory.gap[n, me, me] <= 0 else memory.stuck[n, me] + 1


@inner
def _credit_for(kit: Kit, scene: Scene, memory: CookMemory, n: int, me: int, i: int, same: bool) -> int:
    """Change of credit: work done counts most, following the plan a little, standing or going astray counts against."""
    if memory.held[n, me, i] != scene.held[i]:
        at_counter = kit.terrain[kit.plan.facing[scene.cell[i], scene.pose[i] % 4]] == COUNTER
        return 1 if at_counter else 3
    goal = memory.goal[n, me, i]
    if goal < 0:
        return -1 if same and memory.credit[n, me, i] < CREDIT_NEEDED else 0
    if memory.gap[n, me, i] == DUE:
        return -1
    if scene.pose[i] == memory.next[n, me, i]:
        return 0 if same else 1
    return 1 if scene.dist[i, goal] < memory.gap[n, me, i] else -1


@inner
def _remember(scene: Scene, tasks: Allocation, memory: CookMemory, n: int, me: int) -> None:
    """Keeps this tick's state and goals for the next one."""
    for i in range(len(scene.held)):
        goal = tasks.goal[i]
        memory.pose[n, me, i], memory.held[n, me, i] = scene.pose[i], scene.held[i]
        memory.goal[n, me, i] = goal
        steps = scene.dist[i, goal] if goal >= 0 else 0
        memory.gap[n, me, i] = DUE if goal >= 0 and steps + tasks.wait[i] == 0 else steps


# --------------------------------------------------------------------------- walking among others


@inner
def _urgency(scene: Scene, tasks: Allocation, i: int) -> int:
    """Sort key for planning routes: those who do not help, then by ticks to the goal, then those without a goal."""
    if not scene.helps[i]:
        return -1
    if tasks.goal[i] < 0:
        return FAR + i
    return max(scene.dist[i, tasks.goal[i]], tasks.wait[i])


@inner_alloc
def _rank(scene: Scene, tasks: Allocation) -> Array:
    """Order int64 [P] in which routes are planned."""
    order = np.arange(len(scene.held))
    for place in range(1, len(order)):
        k = place
        while k > 0 and _urgency(scene, tasks, order[k]) < _urgency(scene, tasks, order[k - 1]):
            order[k], order[k - 1] = order[k - 1], order[k]
            k -= 1
    return order


@inner_alloc
def _plan_routes(kit: Kit, scene: Scene, tasks: Allocation, memory: CookMemory, n: int, me: int) -> None:
    """Writes the next pose of every chef into memory.next: each one's route around those ranked before it.

    A chef that finds no route (another one walks into its dead end) is ranked first, and all is planned anew. If every
    order traps somebody, each chef in turn goes first and keeps clear of where the others stand now.
    """
    order = _rank(scene, tasks)
    shun = np.zeros(len(kit.terrain), np.bool_)
    gives_way = np.zeros(len(order), np.bool_)
    for attempt in range(2 * len(order)):
        clear = attempt >= len(order)
        trapped = _plan_in_order(kit, scene, tasks, memory, n, me, order, gives_way, shun, clear)
        if trapped < 0:
            return
        i = order[trapped]
        for place in range(trapped, 0, -1):
            order[place] = order[place - 1]
        order[0] = i
        gives_way[i] = tasks.wait[i] > 0
        if gives_way[i]:
            _mark_ways(kit, scene, tasks, i, shun)


@inner_alloc
def _mark_ways(kit: Kit, scene: Scene, tasks: Allocation, me: int, shun: Array) -> None:
    """Marks in shun bool [C] the cells that the other chefs would walk on if nobody were in their way."""
    busy = np.zeros((HORIZON + 1, len(kit.terrain)), np.int8)
    free = np.zeros(len(kit.terrain), np.bool_)
    route = np.empty(HORIZON + 1, np.int16)
    away = np.zeros(len(kit.terrain), np.int16)
    for i in range(len(scene.held)):
        if i != me and scene.helps[i] and tasks.goal[i] >= 0:
            goal = tasks.goal[i]
            cells_to_go(kit.plan.facing, kit.plan.floor, goal, away)
            find_route(kit.plan.facing, kit.plan.floor, busy, free, scene.pose[i], goal, 1, away, route)
            for pose in route:
                shun[pose // 4] = True


@inner_alloc
def _plan_in_order(
    kit: Kit,
    scene: Scene,
    tasks: Allocation,
    memory: CookMemory,
    n: int,
    me: int,
    order: Array,
    gives_way: Array,
    shun: Array,
    clear: bool,
) -> int:
    """Plans chef by chef; returns the place in the order of the first that is trapped, -1 if none is.

    clear: routes also avoid the present cells of chefs who are planned later.
    """
    facing, floor = kit.plan.facing, kit.plan.floor
    busy = np.zeros((HORIZON + 1, len(floor)), np.int8)
    route = np.empty(HORIZON + 1, np.int16)
    away = np.zeros(len(floor), np.int16)
    for place, i in enumerate(order):
        route[:] = scene.pose[i]
        arrival = HORIZON if memory.still[n, me, i] >= STILL_AFTER else GUESS_TICKS
        if scene.helps[i]:
            goal = -1 if gives_way[i] else tasks.goal[i]
            hold = max(1, tasks.wait[i]) if goal >= 0 else HORIZON
            if goal >= 0:
                cells_to_go(facing, floor, goal, away)
            mine = _with_later(busy, scene, order, place) if clear else busy
            arrival = find_route(facing, floor, mine, shun, scene.pose[i], goal, hold, away, route)
        if arrival < 0 and place > 0:
            return place
        memory.next[n, me, i] = route[1]
        reserve(busy, route, max(arrival, 0) + 1, i + 1)
    return -1


@inner_alloc
def _with_later(busy: Array, scene: Scene, order: Array, place: int) -> Array:
    """Copy of busy in which the chefs behind `place` in the order stay where they are."""
    wide = busy.copy()
    for later in order[place + 1 :]:
        for tick in range(len(wide)):
            if wide[tick, scene.cell[later]] == 0:
                wide[tick, scene.cell[later]] = later + 1
    return wide


@inner
def _act_on_plan(kit: Kit, scene: Scene, tasks: Allocation, memory: CookMemory, n: int, me: int) -> int:
    """Interact on arrival, else the first step or turn of the route."""
    pose, goal = scene.pose[me], tasks.goal[me]
    if goal >= 0 and kit.plan.facing[pose // 4, pose % 4] == goal and tasks.wait[me] == 0:
        return INTERACT
    follow = memory.next[n, me, me]
    return STAY if follow == pose else follow % 4


@inner
def _step_aside(kit: Kit, scene: Scene, me: int, luck: float) -> int:
    """A random step to a free neighbour cell, or stay if there is none."""
    for n in range(4):
        press = (int(luck * 4) + n) % 4
        to = kit.plan.facing[scene.cell[me], press]
        free = kit.plan.floor[to]
        for cell in scene.cell:
            free = free and cell != to
        if free:
            return press
    return STAY
