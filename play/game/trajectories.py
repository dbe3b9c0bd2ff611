"""Other people's recordings: the trajectory files of overcooked-demo and overcooked-ai, read into plain values.

Two forms are known. The lists of overcooked-ai (`ep_states`, `ep_actions`, `ep_rewards`, `mdp_params`: one entry per
game; the demo of 2019 saves these, `AgentEvaluator` and `coord games export` too), and the rows of the later demo's
server (`{"trajectory": [...]}`, or a list of such or of rows), in which every tick is one mapping. States and actions
may be texts of JSON within the JSON. Soups are written as in 2019 or as in version 1.1.0. Nothing is executed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coord.errors import UserError

MAX_BYTES = 500_000_000
_MOVES = {(0, -1): 0, (0, 1): 1, (1, 0): 2, (-1, 0): 3, (0, 0): 4}
FAULTS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


@dataclass(frozen=True)
class Trajectory:
    """One game of T ticks as the file tells it; None where it does not."""

    number: int  # from 1, in the order of the file
    layout: str | None  # the kitchen's name there
    terrain: tuple[str, ...] | None  # rows, without start tiles
    params: Mapping[str, Any]  # parameters of the kitchen, as layout files have them
    rules: str | None
    states: tuple[Mapping[str, Any], ...]  # [T] the state before each action
    joint_act: tuple[tuple[int, ...], ...]  # [T][P]
    rew: tuple[float, ...]  # [T]
    seats: tuple[tuple[str, str], ...] | None  # [P] kind ("human" or "agent") and name
    at_s: tuple[float, ...] | None  # [T] since the start of the game
    started_s: float | None  # Unix time


@dataclass(frozen=True)
class Unreadable:
    """A game of the file that cannot be read, and why."""

    number: int
    reason: str


def read_trajectories(path: str | Path) -> list[Trajectory | Unreadable]:
    """All games of a trajectory file, in its order.

    Raises:
        UserError: no such file, not JSON, or neither of the known forms.
    """
    content = _read_json(Path(path))
    if isinstance(content, Mapping) and "ep_observations" in content:  # so called before 2020
        content = {"ep_states": content["ep_observations"], **content}
    if isinstance(content, Mapping) and "ep_states" in content:
        return [_guarded(number, _from_lists, content) for number in range(1, _count(content, path) + 1)]
    rows = list(_rows_of(content))
    if not rows:
        known = "'ep_states' (overcooked-ai, overcooked-demo) or 'trajectory' (the demo's server)"
        raise UserError(f"{path} holds no trajectories: no {known}")
    games = _split_games(rows)
    return [_guarded(number, _from_rows, game) for number, game in enumerate(games, start=1)]


def _read_json(path: Path) -> Any:
    try:
        if not path.is_file():
            raise UserError(f"no such file: {path}")
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path} is larger than {MAX_BYTES // 1_000_000} MB: give the games in several files")
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        hint = "; pickled results (.pkl) are not read: save them as JSON" if path.suffix in (".pkl", ".pickle") else ""
        raise UserError(f"{path} is not JSON: line {error.lineno}, column {error.colno}: {error.msg}{hint}") from error
    except (OSError, RecursionError, ValueError) as error:
        hint = ": pickled results are not read, save them as JSON" if path.suffix in (".pkl", ".pickle") else ""
        raise UserError(f"cannot read {path}{hint} ({str(error)[:80]})") from error


def _guarded(number: int, read: Any, content: Any) -> Trajectory | Unreadable:
    try:
        return read(number, content)
    except FAULTS as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else f"{str(error)[:160] or type(error).__name__}"
        return Unreadable(number, reason)


# --------------------------------------------------------------------------- the two forms


def _count(content: Mapping[str, Any], path: str | Path) -> int:
    if not isinstance(content["ep_states"], Sequence) or isinstance(content["ep_states"], str):
        raise UserError(f"{path}: 'ep_states' is no list of games")
    return len(content["ep_states"])


def _from_lists(number: int, content: Mapping[str, Any]) -> Trajectory:
    params = _entry(content, "mdp_params", number) or {}
    about = content.get("metadatas") or {}
    rewards = _entry(content, "ep_rewards", number)
    states = _texts(content["ep_states"][number - 1])
    terrain = params.get("terrain")
    return Trajectory(
        number=number,
        layout=params.get("layout_name"),
        terrain=None if terrain is None else tuple("".join(row) for row in terrain),
        params=params,
        rules=_entry(about, "rules", number),
        states=tuple(_state(state) for state in states),
        joint_act=_joint_acts(content["ep_actions"][number - 1], len(states)),
        rew=_rewards(rewards, len(states)),
        seats=None,
        at_s=None,
        started_s=None,
    )


def _entry(content: Mapping[str, Any], key: str, number: int) -> Any:
    """What a list of a file says of one game, None if there is no such list."""
    listed = content.get(key)
    return listed[number - 1] if isinstance(listed, list) and len(listed) >= number else None


def _rows_of(content: Any) -> Iterable[Mapping[str, Any]]:
    """Rows of the later demo, from one result, a list of results, or a list of rows."""
    if isinstance(content, Mapping) and isinstance(content.get("trajectory"), list):
        content = content["trajectory"]
    for one in content if isinstance(content, list) else []:
        if isinstance(one, Mapping) and "joint_action" in one and "state" in one:
            yield one
        elif isinstance(one, Mapping) and isinstance(one.get("trajectory"), list):
            yield from _rows_of(one)


def _split_games(rows: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """A game ends where the trial, the kitchen or the count of ticks begins anew."""
    games: list[list[Mapping[str, Any]]] = []
    for row in rows:
        last = games[-1][-1] if games else {}
        same = all(row.get(key) == last.get(key) for key in ("trial_id", "layout_name"))
        before, now = last.get("cur_gameloop"), row.get("cur_gameloop")
        onward = not isinstance(before, int) or not isinstance(now, int) or now > before
        if games and same and onward:
            games[-1].append(row)
        else:
            games.append([row])
    return games


def _from_rows(number: int, rows: Sequence[Mapping[str, Any]]) -> Trajectory:
    first = rows[0]
    terrain = _text(first["layout"]) if "layout" in first else None
    times = [float(row["time_elapsed"]) for row in rows if isinstance(row.get("time_elapsed"), int | float)]
    states = [_text(row["state"]) for row in rows]
    began = first.get("trial_id")
    return Trajectory(
        number=number,
        layout=first.get("layout_name"),
        terrain=None if terrain is None else tuple("".join(row) for row in terrain),
        params={},
        rules=None,
        states=tuple(_state(state) for state in states),
        joint_act=_joint_acts([row["joint_action"] for row in rows], len(states)),
        rew=_rewards([row["reward"] for row in rows], len(rows)),
        seats=_seats(first, len(states[0]["players"])),
        at_s=tuple(times) if len(times) == len(rows) else None,
        started_s=float(str(began)) if str(began).replace(".", "", 1).isdigit() else None,
    )


def _seats(row: Mapping[str, Any], num_players: int) -> tuple[tuple[str, str], ...] | None:
    """Kinds and names; the ids of people are not taken over."""
    known = [row.get(f"player_{seat}_is_human") for seat in range(num_players)]
    if not all(isinstance(is_human, bool) for is_human in known):
        return None
    names = [str(row.get(f"player_{seat}_id", "agent"))[:100] for seat in range(num_players)]
    return tuple(("human", "human") if human else ("agent", name) for human, name in zip(known, names, strict=True))


# --------------------------------------------------------------------------- parts


def _text(value: Any) -> Any:
    """A value that may be JSON within the JSON; the demo of 2019 also wrote Python's quotes."""
    if not isinstance(value, str):
        return value
    return json.loads(value if '"' in value or "'" not in value else value.replace("'", '"'))


def _texts(values: Iterable[Any]) -> list[Any]:
    return [_text(value) for value in values]


def _state(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """A state with its objects as a list and every hand named."""
    objects = state["objects"]
    players = [{**player, "held_object": player.get("held_object")} for player in state["players"]]
    return {**state, "players": players, "objects": list(objects.values() if isinstance(objects, Mapping) else objects)}


def _joint_acts(listed: Sequence[Any], length: int) -> tuple[tuple[int, ...], ...]:
    if len(listed) != length:
        raise ValueError(f"{len(listed)} actions stand beside {length} states")
    return tuple(tuple(_action(act) for act in _text(joint)) for joint in listed)


def _action(act: Any) -> int:
    if isinstance(act, str) and act.lower() == "interact":
        return 5
    if isinstance(act, list) and len(act) == 2 and tuple(act) in _MOVES:
        return _MOVES[tuple(act)]
    raise ValueError(f"{json.dumps(act)[:40]} is no action")


def _rewards(listed: Sequence[Any] | None, length: int) -> tuple[float, ...]:
    if listed is None or len(listed) != length:
        raise ValueError(f"{0 if listed is None else len(listed)} rewards stand beside {length} states")
    return tuple(float(rew) for rew in listed)
