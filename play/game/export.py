"""Recorded games in other people's formats: overcooked-ai's trajectories, CSV and Parquet."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from coord.errors import UserError
from coord.files import atomic_write_bytes, atomic_write_csv, atomic_write_text
from coord.overcooked.recorded import RecordedGame
from play.game.inputs import ACTION_NAMES

# overcooked-ai's own words for the six actions, in our order.
_REFERENCE_ACTIONS: tuple[Any, ...] = ([0, -1], [0, 1], [1, 0], [-1, 0], [0, 0], "interact")


def export_json(games: Sequence[RecordedGame], out: Path) -> None:
    """Trajectories as overcooked-ai's `AgentEvaluator.load_traj_from_json` reads them.

    That package finds layouts by name only: games on own layouts load, but its dynamics check and its renderer need
    the layout file beside its own.
    """
    episodes = [_episode(game) for game in games]
    trajectories = {key: [episode[key] for episode in episodes] for key in _EPISODE_KEYS}
    metadatas = {
        "game": [game.header.id for game in games],
        "rules": [game.header.rules for game in games],
        "players": [[seat["name"] for seat in game.header.seats] for game in games],
        "participant": [game.header.participant for game in games],
    }
    atomic_write_text(out, json.dumps({**trajectories, "metadatas": metadatas}))


_EPISODE_KEYS = (
    "ep_states",
    "ep_actions",
    "ep_rewards",
    "ep_dones",
    "ep_infos",
    "ep_returns",
    "ep_lengths",
    "mdp_params",
    "env_params",
)


def _points(rew: float) -> int | float:
    """A reward as that package writes it: a whole number, unless it is none (its rules pay 13.75 for some soups)."""
    return int(rew) if float(rew).is_integer() else float(rew)


def _episode(game: RecordedGame) -> dict[str, Any]:
    header, length = game.header, len(game.rew)
    terrain = [list(row) for row in header.kitchen().terrain]
    return {
        "ep_states": game.states()[:-1],  # the state before each action, as that package does
        "ep_actions": [[_REFERENCE_ACTIONS[act] for act in joint_act] for joint_act in game.joint_act],
        "ep_rewards": [_points(rew) for rew in game.rew],
        "ep_dones": [tick == header.ticks - 1 for tick in range(length)],
        "ep_infos": [{} for _ in range(length)],
        "ep_returns": _points(game.rew.sum()),
        "ep_lengths": length,
        "mdp_params": {"layout_name": header.layout, "terrain": terrain},
        # `_variable_mdp` is True in every file that package writes itself (version 1.1.0).
        "env_params": {"start_state_fn": None, "horizon": header.ticks, "info_level": 0, "_variable_mdp": True},
    }


COLUMNS = (
    "game", "uid", "started_utc", "layout", "rules", "participant", "study_round", "outcome", "tick", "at_ms",
    "seat", "player_kind", "player", "action", "source", "key_ms", "latency_ms", "reward", "score", "state_hash",
)  # fmt: skip


def _rows(games: Sequence[RecordedGame]) -> Iterator[tuple[Any, ...]]:
    """One row per (game, tick, seat), fields as in COLUMNS; None where there is nothing to tell."""
    for game in games:
        head = game.header
        game_fields = (head.id, head.uid, head.started_utc, head.layout, head.rules)
        about = (*game_fields, head.participant, head.study_round, head.outcome)
        for tick, score in enumerate(accumulate(game.rew.tolist())):
            for seat, info in enumerate(head.seats):
                yield (
                    *about, tick, float(game.at_ms[tick]), seat, info["kind"], info["name"],
                    ACTION_NAMES[game.joint_act[tick, seat]], game.sources[tick][seat],
                    _known(game.key_ms[tick, seat]), _known(game.latency_ms[tick, seat]),
                    float(game.rew[tick]), score, game.hashes[tick],
                )  # fmt: skip


def _known(number: float) -> float | None:
    return None if number != number else float(number)


def export_csv(games: Sequence[RecordedGame], out: Path) -> None:
    """One row per (game, tick, seat)."""
    atomic_write_csv(out, COLUMNS, _rows(games))


def export_parquet(games: Sequence[RecordedGame], out: Path) -> None:
    """The same table as `export_csv`, as Parquet. UserError without pyarrow."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        hint = "pip install 'coord[export]', or use format=csv"
        raise UserError(f"Parquet needs pyarrow, which is not installed: {hint}") from error
    columns = list(zip(*_rows(games), strict=True)) or [()] * len(COLUMNS)
    table = pyarrow.table(dict(zip(COLUMNS, columns, strict=True)))
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(table, sink)
    atomic_write_bytes(out, sink.getvalue().to_pybytes())


FORMATS: dict[str, Callable[[Sequence[RecordedGame], Path], None]] = {
    "json": export_json,
    "csv": export_csv,
    "parquet": export_parquet,
}
