"""The human-human games of 2019 that ship with overcooked-ai (Carroll et al., 2019).

Two files, one per half. The halves never mix: `load_games` takes exactly one of them, and every `HumanGame`
carries its name. Behaviour cloning for training uses "train" only, the evaluation proxy uses "test" only.

The files are pickled data frames. They are read here without pandas (whose old classes no longer exist) and
without executing anything: the unpickler knows eight harmless names and refuses every other.

The recording came before cooking times and values were configurable: a soup is written `[ingredient, count,
ticks]`, the ticks run on beyond 20 after the soup is carried away, and a delivery is worth 5 (`reward_norm`
gives the 20 of today).
"""

from __future__ import annotations

import importlib.util
import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from coord.errors import UserError, unknown

SPLITS = {"train": "clean_train_trials.pickle", "test": "clean_test_trials.pickle"}
RECORDED_NAMES = {
    "cramped_room": "cramped_room",
    "asymmetric_advantages": "asymmetric_advantages",
    "coordination_ring": "coordination_ring",
    "forced_coordination": "random0",
    "counter_circuit_o_1order": "random3",
}
HUMAN_LAYOUTS = tuple(RECORDED_NAMES)
COOK_TIME = 20  # ticks; the 2019 rules know no other
ACTION_INDEX = {"[0, -1]": 0, "[0, 1]": 1, "[1, 0]": 2, "[-1, 0]": 3, "[0, 0]": 4, '"INTERACT"': 5}
ORDERS = [{"ingredients": ["onion", "onion", "onion"]}]


@dataclass(frozen=True)
class HumanGame:
    """One recorded game of two people: T joint actions and the T + 1 states around them."""

    split: str  # "train" or "test": the half it belongs to
    layout: str  # today's name of the layout
    pair: str  # pseudonym of the two people, "<run>/<number>"; equal pseudonyms played several layouts
    states: list[dict]  # [T + 1] like OvercookedState.to_dict(), soups in the 2019 form; parts are shared
    joint_act: np.ndarray  # int8 [T, 2] action indices
    rew: np.ndarray  # float32 [T] task reward, 20 per soup


def load_games(split: str, layout: str) -> list[HumanGame]:
    """All recorded games of one half on one layout, in the order of the recording.

    Raises UserError for an unknown half, a layout without recordings, or a package without its data.
    """
    if split not in SPLITS:
        raise unknown("half of the human games", split, SPLITS)
    if layout not in RECORDED_NAMES:
        raise unknown("layout with human games", layout, RECORDED_NAMES)
    columns = _read_columns(_data_folder() / SPLITS[split])
    rows = np.flatnonzero(columns["layout_name"] == RECORDED_NAMES[layout])
    starts = np.flatnonzero(columns["cur_gameloop"][rows] == 0)
    games = np.split(rows, starts[1:])
    return [_game(split, layout, columns, game) for game in games]


def _game(split: str, layout: str, columns: Mapping[str, np.ndarray], rows: np.ndarray) -> HumanGame:
    """Cut one game out of the columns; `rows` are its consecutive row numbers."""
    texts = [*columns["state"][rows], columns["next_state"][rows[-1]]]
    if not np.array_equal(columns["state"][rows[1:]], columns["next_state"][rows[:-1]]):
        raise UserError(f"human games on {layout}: a recorded game has a gap; is the overcooked-ai package damaged?")
    records = {text: _record(text) for text in set(texts)}  # people often wait: many states repeat
    acts = {text: _joint_action(text) for text in set(columns["joint_action"][rows])}
    return HumanGame(
        split=split,
        layout=layout,
        pair=f"{columns['run'][rows[0]]}/{columns['workerid_num'][rows[0]]}",
        states=[{**records[text], "timestep": tick} for tick, text in enumerate(texts)],
        joint_act=np.array([acts[text] for text in columns["joint_action"][rows]], dtype=np.int8),  # [T, 2]
        rew=columns["reward_norm"][rows].astype(np.float32),
    )


def _record(text: str) -> dict:
    """Recorded state (a printed Python mapping) in today's form, but for its timestep."""
    record = _parse(text)
    return {
        "players": [{"held_object": None, **_capped(player, "held_object")} for player in record["players"]],
        "objects": [_capped({"object": thing}, "object")["object"] for thing in record["objects"].values()],
        "bonus_orders": [],
        "all_orders": ORDERS,
    }


def _capped(holder: dict, key: str) -> dict:
    """`holder` with the ticks of the soup under `key`, if there is one, cut at the cooking time."""
    thing = holder.get(key)
    if thing and thing["name"] == "soup":
        ingredient, count, ticks = thing["state"]
        holder = {**holder, key: {**thing, "state": [ingredient, count, min(ticks, COOK_TIME)]}}
    return holder


def _joint_action(text: str) -> list[int]:
    """Action indices of a recorded joint action such as "['INTERACT', [0, -1]]"."""
    return [ACTION_INDEX[json.dumps(act)] for act in _parse(text)]


def _parse(text: str) -> Any:
    """Value of a printed Python literal; no recorded string holds a quote, so JSON can read it fast."""
    for python, plain in (("'", '"'), ("False", "false"), ("True", "true"), ("None", "null")):
        text = text.replace(python, plain)
    return json.loads(text)


def _data_folder() -> Path:
    """Folder of the recordings inside the installed package, found without importing it."""
    package = importlib.util.find_spec("overcooked_ai_py")
    if package is None or package.origin is None:
        raise UserError("the human games come with the package overcooked-ai 1.1.0, which is not installed")
    return Path(package.origin).parent / "data" / "human_data"


class _Stored:
    """Stands in for a pickled pandas object and keeps what was stored of it."""

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _new_index(kind: type, content: dict) -> dict:
    """Stands in for the pandas function that rebuilds an index: keeps its content, labels under "data"."""
    return content


_KNOWN_NAMES = {
    ("pandas.core.frame", "DataFrame"): _Stored,
    ("pandas.core.internals.managers", "BlockManager"): _Stored,
    ("pandas.core.indexes.base", "Index"): _Stored,
    ("pandas.core.indexes.numeric", "Int64Index"): _Stored,
    ("pandas.core.indexes.base", "_new_Index"): _new_index,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
}


class _FrameUnpickler(pickle.Unpickler):
    """Reads a pickled data frame into plain containers, refusing every name that none of that needs."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _KNOWN_NAMES[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"the human games must not contain {module}.{name}") from None


def _read_columns(path: Path) -> dict[str, np.ndarray]:
    """Columns of a pickled data frame by name."""
    try:
        with path.open("rb") as file:
            frame = _FrameUnpickler(file).load()
    except (OSError, pickle.UnpicklingError, EOFError) as error:
        raise UserError(f"cannot read the human games in {path}: {error}") from error
    _, blocks, labels, _ = frame.state["_data"].state
    return {
        name: row
        for label, block in zip(labels, blocks, strict=True)
        for name, row in zip(label["data"], block, strict=True)
    }
