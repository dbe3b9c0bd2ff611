"""The one bridge to the reference implementation, overcooked-ai 1.1.0.

Nothing outside this module imports `overcooked_ai_py`. It is the oracle of the differential tests and the
yardstick of the benchmark, never part of training. The package needs care, all of it kept here:

- its recipes (values, cooking times, known recipes) live in class attributes, so building a second kitchen
  changes the first one: a process holds one layout, and `isolated` gives every task a process of its own;
- it reads `np.Inf`, which NumPy 2 removed, and its import prints gym's retirement notice;
- its planner cache writes into the installed package: planners are built in memory instead.

Classic rules (2019) are not in version 1.1.0. `rules="classic"` replaces five methods of the kitchen object:
an empty hand cannot start a pot; a pot takes only the ingredient that is in it; it starts by itself in the tick in
which it receives its third one (as the `old_dynamics` switch of later versions does); any full soup pays 20, and all
recipes take the default 20 ticks; a useful dish pays with any number of seats. This is our reading of the 2019 code,
so it proves consistency only; independent proofs of the rule set are the recorded human games and the rules of 2019
that the tests write down once more.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace
from typing import Any, NamedTuple, TypeVar

import numpy as np

RULES = ("overcooked-ai", "classic")
POT_SIZE = 3  # ingredients that fill a pot
CLASSIC_VALUE = 20  # points for any full soup
TASK_SECONDS = 600  # a worker that says nothing for so long has died

Task = TypeVar("Task")
Result = TypeVar("Result")


def _load_library() -> SimpleNamespace:
    """Import overcooked-ai with its work-arounds in place and hand back the parts that are used."""
    if not hasattr(np, "Inf"):
        setattr(np, "Inf", np.inf)  # noqa: B010 (the plain assignment is refused by type checkers)
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        from overcooked_ai_py.mdp.actions import Action
        from overcooked_ai_py.mdp.overcooked_mdp import (
            EVENT_TYPES,
            OvercookedGridworld,
            OvercookedState,
            Recipe,
        )
        from overcooked_ai_py.planning.planners import MotionPlanner
    Recipe.configure({})  # layouts with a start state of their own parse it before they set their recipes
    return SimpleNamespace(
        actions=Action.INDEX_TO_ACTION,
        interact=Action.INTERACT,
        stay=Action.STAY,
        events=tuple(EVENT_TYPES),
        Gridworld=OvercookedGridworld,
        State=OvercookedState,
        Recipe=Recipe,
        MotionPlanner=MotionPlanner,
    )


class Transition(NamedTuple):
    """What one joint action did, as the reference tells it."""

    state: Any  # OvercookedState after the tick
    rew: float  # sparse team reward
    shaped_rew: list[float]  # [P]
    events: dict[str, list[bool]]  # event name -> [P]


class ReferenceKitchen:
    """One layout of overcooked-ai in this process.

    Raises RuntimeError when this process already holds another layout (recipes are process-wide; use
    `isolated`).
    """

    _claimed: str | None = None

    def __init__(self, layout: str, rules: str = "overcooked-ai") -> None:
        if rules not in RULES:
            raise ValueError(f"rules must be one of {RULES}, not {rules!r}")
        if ReferenceKitchen._claimed not in (None, layout):
            raise RuntimeError(
                f"this process holds '{ReferenceKitchen._claimed}'; run '{layout}' in its own (oracle.isolated)"
            )
        ReferenceKitchen._claimed = layout
        self.library = _load_library()
        self.kitchen = self.library.Gridworld.from_layout_name(layout)
        self.num_players = int(self.kitchen.num_players)
        self._planners: SimpleNamespace | None = None
        if rules == "classic":
            _make_classic(self.kitchen, self.library)

    def start(self) -> Any:
        """State in which an episode begins."""
        return self.kitchen.get_standard_start_state()

    def parse(self, mapping: dict) -> Any:
        """OvercookedState of a mapping in the form of `OvercookedState.to_dict()`."""
        return self.library.State.from_dict(mapping)

    def step(self, state: Any, joint_act: Iterable[int]) -> Transition:
        """Apply one joint action, given as action indices in seat order."""
        moves = tuple(self.library.actions[int(act)] for act in joint_act)
        state, infos = self.kitchen.get_state_transition(state, moves)
        return Transition(
            state, sum(infos["sparse_reward_by_agent"]), infos["shaped_reward_by_agent"], infos["event_infos"]
        )

    def lossless(self, state: Any, horizon: int = 400) -> np.ndarray:
        """`lossless_state_encoding` of both seats, int16 [2, W, H, 26]; it refuses other numbers of seats."""
        return np.asarray(self.kitchen.lossless_state_encoding(state, horizon=horizon), dtype=np.int16)

    def features(self, state: Any) -> np.ndarray:
        """`featurize_state` (two pots; default planner: counters are no goals), float32 [P, F]."""
        if self._planners is None:
            planner = self.library.MotionPlanner(self.kitchen, [])
            # A pure question that the planner asks itself again and again, half of the time of an encoding.
            planner.is_valid_motion_start_goal_pair = cache(planner.is_valid_motion_start_goal_pair)
            self._planners = SimpleNamespace(motion_planner=planner)
        return np.asarray(self.kitchen.featurize_state(state, self._planners, num_pots=2), dtype=np.float32)

    def picture(self, state: Any, tile: int, hats: tuple[str, ...]) -> np.ndarray:
        """The reference's drawing of a state without its texts, uint8 [H, W, 3]; `hats` are the seats'
        colours.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pygame
            from overcooked_ai_py.visualization.state_visualizer import StateVisualizer
        painter = StateVisualizer(
            tile_size=tile, player_colors=list(hats), is_rendering_hud=False, is_rendering_cooking_timer=False
        )
        surface = painter.render_state(state, self.kitchen.terrain_mtx)
        return pygame.surfarray.array3d(surface).swapaxes(0, 1)


def _make_classic(kitchen: Any, library: SimpleNamespace) -> None:
    """Give a kitchen object of version 1.1.0 the 2019 rules (module docstring)."""
    pass_time = kitchen.step_environment_effects

    def start_full_pots_and_pass_time(state: Any) -> None:
        for soup in state.objects.values():
            if soup.name == "soup" and soup.is_idle and len(soup.ingredients) == POT_SIZE:
                soup.begin_cooking()
        pass_time(state)

    def recipe_value(state: Any, recipe: Any, **_: Any) -> int:
        return CLASSIC_VALUE if len(recipe.ingredients) == POT_SIZE else 0

    use_hands = kitchen.resolve_interacts

    def use_hands_unmixed(state: Any, joint_act: Sequence[Any], *infos: Any) -> Any:
        return use_hands(state, _without_mixing(kitchen, library, state, joint_act), *infos)

    library.Recipe.configure({})  # forgets the layout's own times
    kitchen.resolve_interacts = use_hands_unmixed
    kitchen.is_dish_pickup_useful = _dish_useful_to_any_number(kitchen)
    kitchen.step_environment_effects = start_full_pots_and_pass_time
    kitchen.soup_to_be_cooked_at_location = lambda state, position: False
    kitchen.get_recipe_value = recipe_value


def _dish_useful_to_any_number(kitchen: Any) -> Callable[..., bool]:
    """The kitchen's own rule for a useful dish, which asks for two seats, for any number of them."""
    seats, for_two = kitchen.num_players, kitchen.is_dish_pickup_useful

    def is_useful(*args: Any) -> bool:
        kitchen.num_players = 2
        try:
            return bool(for_two(*args))
        finally:
            kitchen.num_players = seats

    return is_useful


def _without_mixing(kitchen: Any, library: SimpleNamespace, state: Any, joint_act: Sequence[Any]) -> list[Any]:
    """The joint action with `stay` for every chef that would mix a soup, the chefs before it in mind."""
    allowed, pots = list(joint_act), dict[tuple[int, int], list[str]]()
    for seat, chef in enumerate(state.players):
        ahead = (chef.position[0] + chef.orientation[0], chef.position[1] + chef.orientation[1])
        if joint_act[seat] != library.interact or not chef.held_object or kitchen.get_terrain_type_at_pos(ahead) != "P":
            continue
        soup = state.objects.get(ahead)
        inside = pots.setdefault(ahead, list(soup.ingredients) if soup else [])
        held = chef.held_object.name
        if held == "dish" and soup and soup.is_ready:
            inside.clear()
        elif held in library.Recipe.ALL_INGREDIENTS:
            if set(inside) - {held}:
                allowed[seat] = library.stay
            else:
                inside.append(held)
    return allowed


Policy = Callable[[ReferenceKitchen, Any, np.random.Generator], list[int]]


@dataclass(frozen=True)
class TraceRequest:
    """Games for the reference to play. Encodings are kept of every n-th state of a game; 0 keeps none."""

    layout: str
    policy: Policy  # (reference, state, generator) -> joint action; a top-level function, it travels by name
    rules: str = "overcooked-ai"
    episodes: int = 1
    ticks: int = 400
    seed: int = 0
    lossless_every: int = 0
    features_every: int = 0


@dataclass
class Trace:
    """Played games: E episodes of T ticks, with the T + 1 states of each as mappings."""

    request: TraceRequest
    joint_act: np.ndarray  # int8 [E, T, P]
    rew: np.ndarray  # float64 [E, T]
    shaped_rew: np.ndarray  # float64 [E, T, P]
    states: list[list[dict]] = field(default_factory=list)  # [E][T + 1]
    events: dict[str, np.ndarray] = field(default_factory=dict)  # event name -> count over the episode, int [E, P]
    lossless: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)  # (episode, tick) -> int16 [P, W, H, 26]
    features: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)  # (episode, tick) -> float32 [P, F]


def play_traces(requests: Sequence[TraceRequest]) -> list[Trace]:
    """Let the reference play the requested games, all of one layout and rule set, in this process."""
    reference = ReferenceKitchen(requests[0].layout, requests[0].rules)
    return [play_trace(reference, request) for request in requests]


def play_trace(reference: ReferenceKitchen, request: TraceRequest) -> Trace:
    """Let a reference play one request."""
    shape = (request.episodes, request.ticks, reference.num_players)
    trace = Trace(request, np.zeros(shape, np.int8), np.zeros(shape[:2]), np.zeros(shape))
    trace.events = {name: np.zeros((shape[0], shape[2]), np.int64) for name in reference.library.events}
    for episode in range(request.episodes):
        rng = np.random.default_rng([request.seed, episode])
        state = reference.start()
        trace.states.append([state.to_dict()])
        _encode(reference, trace, state, episode, 0)
        for tick in range(request.ticks):
            joint_act = request.policy(reference, state, rng)
            result = reference.step(state, joint_act)
            state = result.state
            trace.joint_act[episode, tick] = joint_act
            trace.rew[episode, tick] = result.rew
            trace.shaped_rew[episode, tick] = result.shaped_rew
            trace.states[episode].append(state.to_dict())
            for name, seats in result.events.items():
                trace.events[name][episode] += seats
            _encode(reference, trace, state, episode, tick + 1)
    return trace


def _encode(reference: ReferenceKitchen, trace: Trace, state: Any, episode: int, tick: int) -> None:
    """Keep the reference's encodings of a state where the request asks for them and the reference can."""
    request, players = trace.request, reference.num_players
    if request.lossless_every and tick % request.lossless_every == 0 and players == 2:
        trace.lossless[episode, tick] = reference.lossless(state, horizon=request.ticks)
    if request.features_every and tick % request.features_every == 0 and players > 1:
        trace.features[episode, tick] = reference.features(state)


def isolated(function: Callable[[Task], Result], tasks: Iterable[Task], workers: int = 2) -> Iterator[Result]:
    """Run `function` on every task, each in a fresh process, and yield the results in the order of the tasks.

    At most one finished result per worker waits for the consumer, so long lists of large traces fit into
    memory.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "scipy.sparse.csgraph"])
    with context.Pool(workers, maxtasksperchild=1) as pool:
        pending: deque[Any] = deque()
        for task in tasks:
            pending.append(pool.apply_async(function, (task,)))
            if len(pending) > workers:
                yield pending.popleft().get(TASK_SECONDS)
        while pending:
            yield pending.popleft().get(TASK_SECONDS)


@dataclass(frozen=True)
class SpeedRequest:
    """How fast is the reference: random play on one kitchen."""

    layout: str
    joint_steps: int = 4000
    seed: int = 0


def measure_speed(request: SpeedRequest) -> dict[str, float]:
    """Joint steps per second of the reference: stepping alone, and stepping with both lossless views."""
    reference = ReferenceKitchen(request.layout)
    rng = np.random.default_rng(request.seed)
    plan = rng.integers(len(reference.library.actions), size=(request.joint_steps, reference.num_players))
    speeds = {}
    for name, encode in (("step", False), ("step_lossless", True)):
        state = reference.start()
        began = time.perf_counter()
        for joint_act in plan:
            state = reference.step(state, joint_act).state
            if encode:
                reference.lossless(state)
        speeds[name] = request.joint_steps / (time.perf_counter() - began)
    return speeds
