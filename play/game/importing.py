"""Takes other people's games (`play.game.trajectories`) into the recordings: for replay, scoring and cloning.

A game is taken in only if the rules reproduce it: from its first state, its actions must lead to every later state and
every reward that the file holds. Which rules and which cook time that takes is found by trying, unless the file says.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from coord.errors import UserError
from coord.overcooked.layouts import MAX_COOK_TIME, Layout, layout_names
from coord.overcooked.loader import load_layout
from coord.overcooked.packed_row import RULES
from coord.overcooked.recorded import layout_to_json, state_hash
from coord.overcooked.vector_env import MAX_HORIZON, OvercookedVectorEnv
from play.game.record import Store, utc_now, versions
from play.game.seats import SeatInfo
from play.game.session import occurred
from play.game.trajectories import FAULTS, Trajectory, Unreadable, read_trajectories

DEMO_HZ = 1000 / 150  # ticks per second of the demo of 2019, where a file does not tell the times
FIELDS = (  # of a kitchen of version 1.1.0
    *("start_all_orders", "start_bonus_orders", "order_bonus", "rew_shaping_params", "recipe_values", "recipe_times"),
    *("cook_time", "delivery_reward", "onion_time", "tomato_time", "onion_value", "tomato_value"),
)
DEFAULTS = {"cook_time": 20, "delivery_reward": 20, "num_items_for_soup": 3}
REPLAY_COOK_TIME = 5  # of the 2019 demo's engine when nothing was said


@dataclass(frozen=True)
class Imported:
    """What became of one game of a file. `game_id` is None if it was not taken in; `message` says why.

    `kitchen` is the text of a layout file, for a game on a kitchen that no name stands for.
    """

    number: int
    game_id: int | None
    message: str
    kitchen: str = ""


@dataclass(frozen=True)
class _Proof:
    """A game reproduced: the kitchen, the rules, and what the replay gave."""

    layout: Layout
    rules: str
    start: Mapping[str, Any]
    hashes: list[str]  # [T] after each tick
    events: list[tuple[int, int | None, str, str]]


def import_file(
    store: Store, path: str | Path, layout: str | None = None, people: Sequence[int] = ()
) -> list[Imported]:
    """Take in all games of a trajectory file that can be reproduced, each in one transaction.

    layout: the kitchen of all of them, where the file names one that is not known here. people: seats that people held;
    empty: as the file says, and everybody where it does not.

    Raises:
        UserError: the file cannot be read at all, or the layout is none.
    """
    kitchen = None if layout is None else load_layout(layout)
    results = []
    for game in read_trajectories(path):
        if isinstance(game, Unreadable):
            results.append(Imported(game.number, None, game.reason))
            continue
        try:
            proof = reproduce(game, kitchen)
            results.append(_write(store, game, proof, Path(path).name, people))
        except UserError as error:
            results.append(Imported(game.number, None, str(error)))
        except FAULTS as error:
            results.append(Imported(game.number, None, f"it makes no sense here: {str(error)[:120]}"))
    return results


# --------------------------------------------------------------------------- which kitchen, which rules


def reproduce(game: Trajectory, layout: Layout | None = None) -> _Proof:
    """The kitchen and the rules under which a game came about.

    Raises:
        UserError: there are none; the message names the tick up to which the best attempt went, and what differs there.
    """
    if not game.states:
        raise UserError("it has no ticks")
    if len(game.states) > MAX_HORIZON:
        raise UserError(f"it has {len(game.states)} ticks, a game has at most {MAX_HORIZON}")
    furthest, reason = -1, "no kitchen fits"
    for kitchen, rules in _attempts(game, layout):
        try:
            proof, tick, why = _replay(game, kitchen, rules)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            proof, tick, why = None, 0, f"its first state does not fit the kitchen: {str(error)[:120]}"
        if proof is not None:
            return proof
        if tick > furthest:
            furthest, reason = tick, f"{why} (tick {tick} of {len(game.states)}, kitchen {kitchen.name}, rules={rules})"
    if game.params.get("start_order_list") and reason.startswith("the reward"):
        reason += "; it has a queue of orders (start_order_list), here every soup is paid"
    raise UserError(reason)


def _attempts(game: Trajectory, layout: Layout | None) -> Iterator[tuple[Layout, str]]:
    """Kitchens and rules to try, the likeliest first."""
    soups = [thing for state in game.states for thing in _things(state) if thing.get("name") == "soup"]
    old = any("state" in soup for soup in soups) or "all_orders" not in game.states[0]
    rule_sets = (game.rules,) if game.rules in RULES else ("classic",) if old else RULES[::-1]
    base = _kitchen(game) if layout is None else layout
    for rules in rule_sets:
        if layout is not None or rules != "classic":
            kitchen = base if layout is not None else _with_fields(base, game)
            yield kitchen, rules
            if layout is None and (times := _shown_times(soups)) and set(times) != set(kitchen.times):
                for time in times:  # set by the program that ran the game, in no layout
                    yield dataclasses.replace(kitchen, times=(time,) * len(kitchen.times)), rules
            continue
        for cook_time in _cook_times(game, soups):
            for reward in _delivery_rewards(game):
                yield _with_params(base, game, cook_time, reward), rules


def _things(state: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    held = [player["held_object"] for player in state["players"] if player["held_object"]]
    return [*state["objects"], *held]


def _cook_times(game: Trajectory, soups: list[Mapping[str, Any]]) -> list[int]:
    given = game.params.get("cook_time")
    if given is not None:
        return [given]
    seen = [soup["state"][2] for soup in soups if "state" in soup]
    likely = [DEFAULTS["cook_time"], REPLAY_COOK_TIME, *([max(seen)] if seen else []), *_shown_times(soups)]
    return list(dict.fromkeys(likely))


def _shown_times(soups: list[Mapping[str, Any]]) -> list[int]:
    """The first few cook times that soups of today's form tell while they cook."""
    shown = [soup.get("cook_time") for soup in soups]
    return list(dict.fromkeys(time for time in shown if type(time) is int and 0 < time <= MAX_COOK_TIME))[:4]


def _delivery_rewards(game: Trajectory) -> list[float]:
    given = game.params.get("delivery_reward")
    if given is not None:
        return [given]
    paid = [rew for rew in game.rew if rew > 0]
    return list(dict.fromkeys([DEFAULTS["delivery_reward"], *([min(paid)] if paid else [])]))


def _kitchen(game: Trajectory) -> Layout:
    """The packaged kitchen of that name or terrain, else the terrain itself with start tiles where the chefs begin."""
    named = None
    try:
        named = load_layout(game.layout) if game.layout and "\n" not in game.layout else None
    except UserError as error:
        if game.terrain is None:
            raise UserError(f"{error}; give layout=<its file>") from error
    if game.terrain is None:
        if named is None:
            raise UserError("it names no kitchen and shows none; give layout=<its file>")
        return named
    if named is not None and named.terrain == game.terrain:
        return named
    starts = [tuple(player["position"]) for player in game.states[0]["players"]]
    for name in layout_names():
        layout = load_layout(name)
        if layout.terrain == game.terrain and list(layout.start_positions) == starts:
            return layout
    rows = [list(row) for row in game.terrain]
    for seat, (x, y) in enumerate(starts):
        rows[y][x] = str(seat + 1)
    made = load_layout(_file_text(["".join(row) for row in rows], {}))
    return dataclasses.replace(made, name=game.layout or "imported")


def _with_params(base: Layout, game: Trajectory, cook_time: Any, reward: Any) -> Layout:
    """The kitchen with parameters of 2019: as it is if they are the usual ones, else as a file with them would be."""
    items = game.params.get("num_items_for_soup", DEFAULTS["num_items_for_soup"])
    if (cook_time, reward, items) == (base.classic_time, base.classic_value, base.classic_items):
        return base
    params = dict(zip(DEFAULTS, (cook_time, reward, items), strict=True))
    return dataclasses.replace(load_layout(_file_text(base.grid, params)), name=base.name)


def _with_fields(base: Layout, game: Trajectory) -> Layout:
    """The kitchen with what the file says of its orders, times and values; as it is if the file says nothing."""
    fields = {key: value for key, value in game.params.items() if key in FIELDS and value is not None}
    if not set(fields) - {"rew_shaping_params"}:
        return base
    made = load_layout(json.dumps({"grid": list(base.grid), **fields}))
    return base if made.hash == base.hash else dataclasses.replace(made, name=base.name)


def _file_text(rows: Sequence[str], params: Mapping[str, Any]) -> str:
    """The text of a layout file of 2019's form."""
    return json.dumps({"grid": list(rows), "start_order_list": None, **DEFAULTS, **params})


def layout_text(layout: Layout) -> str:
    """One line that, saved as a file, is this kitchen; "" if it is a packaged one, or has more to it than 2019 knew."""
    if layout.name in layout_names() and load_layout(layout.name).hash == layout.hash:
        return ""
    params = (layout.classic_time, layout.classic_value, layout.classic_items)
    text = _file_text(layout.grid, dict(zip(DEFAULTS, params, strict=True)))
    return text if load_layout(text).hash == layout.hash else ""


# --------------------------------------------------------------------------- the proof


def _replay(game: Trajectory, layout: Layout, rules: str) -> tuple[_Proof | None, int, str]:
    """Plays the actions: the proof, or the tick and what differs there."""
    env = OvercookedVectorEnv(layout, 1, horizon=len(game.states), rules=rules)
    env.reset()
    env.load_state_dict(0, {**game.states[0], "timestep": 0})
    start, counts = env.state_dict(0), env.event_counts()[0]
    hashes: list[str] = []
    events: list[tuple[int, int | None, str, str]] = []
    for tick, (joint, rew) in enumerate(zip(game.joint_act, game.rew, strict=True)):
        result = env.step(np.array([joint]))
        if abs(float(result.rew[0]) - rew) > 1e-4:
            return None, tick, f"the reward is {rew:g}, the rules pay {float(result.rew[0]):g}"
        state = env.state_dict(0, final=True)
        if tick + 1 < len(game.states) and (why := _difference(game.states[tick + 1], state)):
            return None, tick, why
        now = env.event_counts(final=True)[0]
        events += [(tick + 1, seat, name, "") for seat, name in occurred(counts, now)]
        counts = now
        hashes.append(state_hash(state))
    return _Proof(layout, rules, start, hashes, events), len(game.states), ""


def _difference(recorded: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """What differs between two states, "" if nothing does."""
    for seat, (a, b) in enumerate(zip(recorded["players"], ours["players"], strict=True), start=1):
        for what in ("position", "orientation"):
            if tuple(a[what]) != tuple(b[what]):
                return f"chef {seat} has {what} {tuple(a[what])}, by the rules {tuple(b[what])}"
        if _plain(a["held_object"]) != _plain(b["held_object"]):
            return f"chef {seat} holds {_plain(a['held_object'])}, by the rules {_plain(b['held_object'])}"
    theirs, mine = ({tuple(t["position"]): _plain(t) for t in state["objects"]} for state in (recorded, ours))
    for place in {**theirs, **mine}:
        if theirs.get(place) != mine.get(place):
            return f"at {place} is {theirs.get(place, 'nothing')}, by the rules {mine.get(place, 'nothing')}"
    return ""


def _plain(thing: Mapping[str, Any] | None) -> str:
    if not thing:
        return "nothing"
    if thing["name"] != "soup":
        return str(thing["name"])
    if "state" in thing:
        kind, amount, ticks = thing["state"]
        names = [kind] * amount
    else:
        names = sorted(item["name"] for item in thing["_ingredients"])
        ticks = thing.get("cooking_tick", thing.get("_cooking_tick", -1))
    return f"a soup of {' '.join(names)} after {max(0, ticks)} ticks"


# --------------------------------------------------------------------------- writing


def _write(store: Store, game: Trajectory, proof: _Proof, source: str, people: Sequence[int]) -> Imported:
    """Write a game that is proved, unless it is there already."""
    row = _header(game, proof, source, people)
    known = store.connection.execute("SELECT id FROM games WHERE uid = ?", (row["uid"],)).fetchone()
    if known:
        return Imported(game.number, known[0], f"is game {known[0]} already")
    with store.transaction() as connection:
        places = ", ".join(f":{name}" for name in row)
        number = connection.execute(f"INSERT INTO games ({', '.join(row)}) VALUES ({places})", row).lastrowid
        kinds = [seat.kind for seat in _seat_infos(game, people)]
        results = zip(_times(game), game.rew, proof.hashes, strict=True)
        ticks = [(number, tick, *one) for tick, one in enumerate(results)]
        connection.executemany("INSERT INTO ticks VALUES (?, ?, ?, ?, ?)", ticks)
        chosen = [
            (number, tick, seat, act, kinds[seat], None, None)
            for tick, joint in enumerate(game.joint_act)
            for seat, act in enumerate(joint)
        ]
        connection.executemany("INSERT INTO actions VALUES (?, ?, ?, ?, ?, ?, ?)", chosen)
        happened = [(number, *event) for event in proof.events]
        connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?)", happened)
    store.make_durable()
    where = f"on {proof.layout.name}, rules={proof.rules}"
    said = f"is game {number}: {len(game.rew)} ticks {where}, score {row['score']:g}"
    return Imported(game.number, number, said, layout_text(proof.layout))


def _header(game: Trajectory, proof: _Proof, source: str, people: Sequence[int]) -> dict[str, Any]:
    """The row of the table `games`. The same game has the same uid, so that it is taken in once."""
    start = state_hash(proof.start)
    identity = json.dumps([proof.layout.hash, proof.rules, start, game.joint_act])
    at_ms = _times(game)
    hz = DEMO_HZ if at_ms[-1] <= at_ms[0] else 1000 * (len(at_ms) - 1) / (at_ms[-1] - at_ms[0])
    return {
        "uid": hashlib.sha256(identity.encode()).hexdigest()[:16],
        "started_utc": _date(game.started_s),
        "ended_utc": utc_now(),
        "owner": "",
        "layout": proof.layout.name,
        "layout_hash": proof.layout.hash,
        "layout_json": layout_to_json(proof.layout),
        "rules": proof.rules,
        "ticks": len(game.joint_act),
        "tick_hz": min(max(hz, 0.1), 1000.0),
        "seed": 0,
        "start_state": json.dumps(proof.start),
        "start_hash": start,
        "seats": json.dumps([seat.to_dict() for seat in _seat_infos(game, people)]),
        "versions": json.dumps({**versions(), "imported_from": source[:100]}),
        "participant": "",
        "study_round": None,
        "outcome": "finished",
        "ticks_played": len(game.joint_act),
        "score": sum(game.rew),
    }


def _seat_infos(game: Trajectory, people: Sequence[int]) -> list[SeatInfo]:
    """Who sat where; UserError for a seat that the game does not have."""
    count = len(game.joint_act[0])
    if stray := [seat for seat in people if not 0 <= seat < count]:
        raise UserError(f"people={stray[0]}: the game has the seats 0 to {count - 1}")
    seats = game.seats or tuple(("human", "human") for _ in range(count))
    if people:
        seats = tuple(
            ("human", "human") if seat in people else ("agent", name if kind == "agent" else "unknown")
            for seat, (kind, name) in enumerate(seats)
        )
    return [SeatInfo(kind, name, name, ref=name if kind == "agent" else "") for kind, name in seats]


def _times(game: Trajectory) -> list[float]:
    if game.at_s is None:
        return [round(1000 * tick / DEMO_HZ, 3) for tick in range(len(game.states))]
    return [round(1000 * at, 3) for at in game.at_s]


def _date(started_s: float | None) -> str:
    """When it was played; for a file that does not tell, the time of the import."""
    if started_s is None or not 1e9 < started_s < 1e10:
        return utc_now()
    return datetime.fromtimestamp(started_s, UTC).isoformat(timespec="milliseconds")
