"""Many kitchens at once: packed state, one compiled step for all of them, automatic reset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba import prange

from coord import memory
from coord.errors import UserError, unknown
from coord.overcooked import index_obs, lossless, packed_row, rules
from coord.overcooked.compiled import is_split, loop, parallel_loop
from coord.overcooked.events import NUM_EVENTS
from coord.overcooked.index_spec import IndexSpec
from coord.overcooked.layouts import Layout
from coord.overcooked.loader import load_layout
from coord.overcooked.packed_row import Array, build_tables
from coord.overcooked.state_dict import pack, start_row, unpack
from coord.types import BoolArray, FloatArray, IntArray, StepResult

MAX_HORIZON = 32767
KITCHEN_BYTES = 600  # of the smallest: its packed row twice, event counts twice, its place among the others
Source = str | Path | Layout
_CHUNK = 256  # kitchens per piece of parallel work; fewer than two pieces run on the calling thread


class VectorState(NamedTuple):
    """Everything mutable about N kitchens. `final_*` hold what a kitchen was when its latest episode ended."""

    state: np.ndarray  # int16 [N, S]
    final_state: np.ndarray  # int16 [N, S]
    counts: np.ndarray  # int16 [N, P, events]
    final_counts: np.ndarray  # int16 [N, P, events]
    ret: np.ndarray  # float32 [N] task reward of the running episode
    final_ret: np.ndarray  # float32 [N]
    ended: np.ndarray  # bool [N] whether the last step ended the episode


class VectorParams(NamedTuple):
    """What stays the same about N kitchens, beside the tables (numba's parallel loops take no nested tuples)."""

    layout_index: np.ndarray  # int32 [N]
    start: np.ndarray  # int16 [L, S] rows that episodes begin with
    classic: bool
    horizon: int


@loop
def _copy(target: Array, source: Array) -> None:
    """Copies a row; element by element, since an array assignment may allocate."""
    for k in range(len(source)):
        target[k] = source[k]


@loop
def _end_episode(n: int, batch: VectorState, start: Array) -> None:
    """Keeps what the kitchen was and starts it anew."""
    _copy(batch.final_state[n], batch.state[n])
    _copy(batch.state[n], start)
    for seat in range(batch.counts.shape[1]):
        _copy(batch.final_counts[n, seat], batch.counts[n, seat])
        batch.counts[n, seat] = 0
    batch.final_ret[n] = batch.ret[n]
    batch.ret[n] = 0.0


@loop
def _step_range(
    low: int,
    high: int,
    joint_act: Array,
    batch: VectorState,
    tab: packed_row.Tables,
    setting: VectorParams,
    rew: Array,
    shaped: Array,
) -> None:
    """Steps kitchens low..high-1 and resets those whose clock ran out."""
    num_players = joint_act.shape[1]
    for n in range(low, high):
        row, layout = batch.state[n], setting.layout_index[n]
        shaped[n] = 0.0
        points = rules.step_kitchen(
            row, joint_act[n], tab, layout, num_players, setting.classic, shaped[n], batch.counts[n]
        )
        rew[n] = points
        batch.ret[n] += points
        batch.ended[n] = row[packed_row.TIME] >= setting.horizon
        if batch.ended[n]:
            _end_episode(n, batch, setting.start[layout])


@parallel_loop
def _step_parallel(
    joint_act: Array, batch: VectorState, tab: packed_row.Tables, setting: VectorParams, rew: Array, shaped: Array
) -> None:
    total = len(joint_act)
    for piece in prange((total + _CHUNK - 1) // _CHUNK):
        high = min(total, (piece + 1) * _CHUNK)
        _step_range(piece * _CHUNK, high, joint_act, batch, tab, setting, rew, shaped)


@loop
def _available(state: Array, tab: packed_row.Tables, setting: VectorParams, out: Array) -> None:
    """Which actions are useful; out bool [N, P, 6]."""
    for n in range(len(state)):
        layout = setting.layout_index[n]
        for seat in range(out.shape[1]):
            for act in range(6):
                out[n, seat, act] = rules.useful_action(state[n], seat, act, tab, layout, setting.classic)


@loop
def _any_invalid(joint_act: Array) -> bool:
    """Whether any entry is outside 0..5."""
    bad = False
    for n in range(joint_act.shape[0]):
        for seat in range(joint_act.shape[1]):
            bad |= (joint_act[n, seat] < 0) | (joint_act[n, seat] > 5)
    return bad


class OvercookedVectorEnv:
    """N kitchens that step together.

    layout: a layout (name, path, grid string or Layout), or a list with one per kitchen; layouts of different size
    are padded to the largest. All kitchens of a batch have the same number of seats P. `horizon` is in ticks; a
    kitchen whose clock reaches it is truncated and resets itself. rules: "classic" (2019) or "overcooked-ai"
    (1.1.0). A kitchen is deterministic, so `seed` only names the batch; it is kept for wrappers that derive
    generators from it. With `mask_useless_actions`, `available_actions` rules out what would have no effect, as HSP
    and ZSC-Eval do for every agent (returns are then not comparable with Carroll's); stepping itself is the same.

    Raises UserError for an unknown layout, a bad grid, unknown rules, or kitchens that do not fit together.
    """

    def __init__(
        self,
        layout: Source | Sequence[Source],
        num_envs: int,
        horizon: int = 400,
        rules: str = "classic",
        seed: int = 0,
        *,
        mask_useless_actions: bool = False,
    ) -> None:
        self.num_envs, self.horizon, self.rules, self.seed = num_envs, horizon, rules, seed
        self.mask_useless_actions = mask_useless_actions
        _check_numbers(num_envs, horizon, rules)
        memory.check({f"{num_envs} kitchens": num_envs * KITCHEN_BYTES}, "lower the number of kitchens or members")
        self.layouts, self.layout_index = _unique_layouts(layout, num_envs)
        self.num_players = self.layouts[0].num_players
        self.tables = build_tables(self.layouts, rules)
        self._setting = self._make_setting()
        self._batch = self._make_batch()
        self._encoders: dict[IndexSpec, index_obs.IndexCode] = {}
        self.reset()

    def _make_setting(self) -> VectorParams:
        classic = self.rules == "classic"
        rows = [start_row(layout, i, self.tables, classic) for i, layout in enumerate(self.layouts)]
        return VectorParams(self.layout_index, np.stack(rows), classic, self.horizon)

    def _make_batch(self) -> VectorState:
        size = self._setting.start.shape[1]
        shape = (self.num_envs, self.num_players, NUM_EVENTS)
        return VectorState(
            state=np.zeros((self.num_envs, size), np.int16),
            final_state=np.zeros((self.num_envs, size), np.int16),
            counts=np.zeros(shape, np.int16),
            final_counts=np.zeros(shape, np.int16),
            ret=np.zeros(self.num_envs, np.float32),
            final_ret=np.zeros(self.num_envs, np.float32),
            ended=np.zeros(self.num_envs, np.bool_),
        )

    @property
    def state(self) -> IntArray:
        """int16 [N, S] packed rows (see packed_row.py)."""
        return self._batch.state

    @property
    def width(self) -> int:
        """Columns of the widest layout of the batch."""
        return max(layout.width for layout in self.layouts)

    @property
    def height(self) -> int:
        """Rows of the tallest layout of the batch."""
        return max(layout.height for layout in self.layouts)

    @cached_property
    def spec(self) -> IndexSpec:
        """Index observation of exactly the layouts of this batch."""
        return IndexSpec.for_layouts(self.layouts, self.rules, self.num_players)

    @cached_property
    def _planes(self) -> lossless.PlaneCode:
        return lossless.plane_code(self.layouts, self.width, self.height)

    # ------------------------------------------------------------------ play

    def reset(self) -> None:
        """Starts every kitchen anew; nothing of an earlier episode stays reachable."""
        for array in self._batch:
            array[...] = 0
        self.state[...] = self._setting.start[self.layout_index]
        self._batch.final_state[...] = self.state

    def step(self, joint_act: IntArray) -> StepResult:
        """One tick of every kitchen; joint_act [N, P] integers 0..5 in the order of ACTIONS. Raises ValueError."""
        act = self._checked(joint_act)
        rew = np.empty(self.num_envs, np.float32)
        shaped = np.empty((self.num_envs, self.num_players), np.float32)
        if is_split(self.num_envs, _CHUNK):
            _step_parallel(act, self._batch, self.tables, self._setting, rew, shaped)
        else:
            _step_range(0, self.num_envs, act, self._batch, self.tables, self._setting, rew, shaped)
        return StepResult(rew, shaped, np.zeros(self.num_envs, np.bool_), self._batch.ended.copy())

    def _checked(self, joint_act: IntArray) -> IntArray:
        act = np.asarray(joint_act)
        if act.shape != (self.num_envs, self.num_players) or act.dtype.kind not in "iu":
            expected = f"integers of shape {(self.num_envs, self.num_players)}"
            raise ValueError(f"joint_act must be {expected}, got {act.dtype} of shape {act.shape}")
        act = np.ascontiguousarray(act, np.int64)
        if _any_invalid(act):
            n, seat = np.argwhere((act < 0) | (act > 5))[0]
            raise ValueError(f"joint_act[{n}, {seat}] is {act[n, seat]}, allowed: 0 to 5 {packed_row.ACTIONS}")
        return act

    def available_actions(self, final: bool = False) -> BoolArray:
        """bool [N, P, 6]: what agents may choose; all True unless the batch was made with mask_useless_actions."""
        out = np.ones((self.num_envs, self.num_players, 6), np.bool_)
        if self.mask_useless_actions:
            _available(self.rows(final), self.tables, self._setting, out)
        return out

    # ------------------------------------------------------------------ observations and statistics

    def rows(self, final: bool = False) -> IntArray:
        """int16 [N, S] packed rows; final=True gives kitchens that ended in the last step as they ended."""
        if not final or not self._batch.ended.any():
            return self.state
        return np.where(self._batch.ended[:, None], self._batch.final_state, self.state)

    def index_obs(self, spec: IndexSpec | None = None, out: IntArray | None = None, final: bool = False) -> IntArray:
        """int16 [N, P, K] row numbers of a table (see IndexSpec); `out` is written and returned if given."""
        spec = self.spec if spec is None else spec
        code = self._encoders.get(spec)
        if code is None:
            code = self._encoders[spec] = index_obs.index_code(spec, self.layouts, self.rules)
        if out is None:
            out = np.empty((self.num_envs, self.num_players, spec.max_facts), np.int16)
        index_obs.encode_index(self.rows(final), self.layout_index, self.tables, code, self.horizon, out)
        return out

    def lossless_obs(self, out: IntArray | None = None, final: bool = False) -> IntArray:
        """uint8 [N, P, W, H, 26], overcooked-ai's `lossless_state_encoding` of each seat of a kitchen for two.

        W x H is the largest layout of the batch; cells beyond a smaller one are zero. Raises UserError unless P is 2.
        """
        shape = (self.num_envs, self.num_players, self.width, self.height, lossless.NUM_PLANES)
        out = np.empty(shape, np.uint8) if out is None else out
        flat = out.reshape(self.num_envs, self.num_players, -1)
        lossless.encode_planes(self.rows(final), self.layout_index, self.tables, self._planes, self.horizon, flat)
        return out

    def feature_obs(self, final: bool = False) -> FloatArray:
        """float32 [N, P, F], overcooked-ai's `featurize_state` (num_pots=2) of each seat."""
        from coord.overcooked import features  # loads the planner tables, which nothing else needs

        where = (tuple(self.layouts), self.layout_index, self.tables, self.num_players)
        return features.encode(self.rows(final), *where)

    def event_counts(self, final: bool = False) -> IntArray:
        """int32 [N, P, len(EVENTS)] of the running episode; final=True: of those that ended in the last step."""
        counts = self._batch.counts
        if final:
            counts = np.where(self._batch.ended[:, None, None], self._batch.final_counts, counts)
        return counts.astype(np.int32)

    def episode_return(self, final: bool = False) -> FloatArray:
        """float32 [N] task reward of the running episode; final=True: of the one that ended in the last step."""
        if final:
            return np.where(self._batch.ended, self._batch.final_ret, self._batch.ret)
        return self._batch.ret.copy()

    # ------------------------------------------------------------------ states in and out

    def state_dict(self, i: int, final: bool = False) -> dict[str, Any]:
        """State of kitchen i in the form of overcooked-ai's `OvercookedState.to_dict`."""
        number = self.layout_index[i]
        return unpack(self.rows(final)[i], self.layouts[number], number, self.tables)

    def load_state_dict(self, i: int, mapping: Mapping[str, Any]) -> None:
        """Puts kitchen i into a state given in the form of `OvercookedState.to_dict` (or the 2019 form).

        Event counts and return of the running episode stay. Raises ValueError for a state that does not fit the layout.
        """
        number = self.layout_index[i]
        self.state[i] = pack(mapping, self.layouts[number], number, self.tables, self._setting.classic)
        self._batch.ended[i] = False

    def get_state(self) -> dict[str, np.ndarray]:
        """Copies of everything that a continuation depends on."""
        return {name: array.copy() for name, array in self._batch._asdict().items()}

    def set_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Continues from arrays of `get_state` of a batch built with the same arguments. Raises ValueError."""
        for name, own in self._batch._asdict().items():
            given = np.asarray(arrays[name])
            if given.shape != own.shape or given.dtype != own.dtype:
                raise ValueError(f"'{name}' is {given.dtype} {given.shape}, this batch needs {own.dtype} {own.shape}")
        for name, own in self._batch._asdict().items():
            own[...] = arrays[name]


def _check_numbers(num_envs: int, horizon: int, rule_set: str) -> None:
    for name, number, most in (("num_envs", num_envs, None), ("horizon", horizon, MAX_HORIZON)):
        whole = isinstance(number, int | np.integer) and not isinstance(number, bool)
        if not whole or number < 1 or (most is not None and number > most):
            allowed = f"1 to {most}" if most else "at least 1"
            raise UserError(f"{name} is {number!r}, allowed: {allowed}, a whole number")
    if rule_set not in packed_row.RULES:
        raise unknown("rules", rule_set, packed_row.RULES)


def _unique_layouts(layout: Source | Sequence[Source], num_envs: int) -> tuple[list[Layout], IntArray]:
    """Distinct layouts in order of appearance, and which one each kitchen has, int32 [N]."""
    sources = [layout] * num_envs if isinstance(layout, str | Path | Layout) else list(layout)
    if len(sources) != num_envs:
        raise UserError(f"{len(sources)} layouts were given for {num_envs} kitchens")
    numbers: dict[Source, int] = {}
    layouts: list[Layout] = []
    for source in dict.fromkeys(sources):
        loaded = load_layout(source)
        if loaded not in layouts:
            layouts.append(loaded)
        numbers[source] = layouts.index(loaded)
    seats = {item.num_players for item in layouts}
    if len(seats) > 1:
        listing = ", ".join(f"'{item.name}' {item.num_players}" for item in layouts)
        raise UserError(f"kitchens of one batch need the same number of seats: {listing}")
    return layouts, np.array([numbers[source] for source in sources], np.int32)
