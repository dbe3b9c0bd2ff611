"""Every reader of a file takes whatever it is given: what it cannot read is a `UserError`, and at once.

Seeded, so that a failure comes back: a good file is changed in one place, as data and as bytes.
"""

from __future__ import annotations

import copy
import json
import os
import random
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from coord import checkpoint
from coord.agents import files as agent_files
from coord.errors import UserError
from coord.evaluation.run_folder import read_folder
from coord.overcooked import load_layout
from coord.overcooked.recorded import read_games
from coord.preference.labels.store import LabelStore
from coord.run import config
from coord.run.logger import read_metrics
from play.game import catalogue, settings
from play.game.record import Store
from play.game.session import Session
from play.study.study_file import load_study
from populations.pool import add_members, open_pool
from tests.agent_fixtures import index_member, member
from tests.play.helpers import ScriptSeat, run_session

ROUNDS = 60  # changes of each file, of either kind
AT_ONCE_S = 1.0
HUGE = 10**4000
VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 10**30, HUGE, 1e400, float("nan"), -0.5, "", "x", "x" * 300, "../../x", "a\0b", "\x1b[2J",
    "\ud800", [], [[]], {}, {"a": 1}, ["x"] * 3,
)  # fmt: skip


def deep(levels: int = 30_000) -> str:
    return "[" * levels + "]" * levels


def spots(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to every value within a document."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from spots(item, (*path, key))


def changed(document: Any, rng: random.Random) -> Any:
    """The document with one value replaced or one entry left out."""
    result = copy.deepcopy(document)
    path = rng.choice(list(spots(result)))
    if not path:
        return rng.choice(VALUES)
    holder = result
    for key in path[:-1]:
        holder = holder[key]
    if rng.random() < 0.2:
        del holder[path[-1]]
    else:
        holder[path[-1]] = rng.choice(VALUES)
    return result


def damaged(data: bytes, rng: random.Random) -> bytes:
    """The bytes cut short, with some replaced, or with some put in."""
    place = rng.randrange(len(data))
    junk = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 9)))
    head, tail = data[:place], data[place:]
    return rng.choice([head, head + junk + tail[len(junk) :], head + junk + tail])


def problem_of(read: Callable[[], object], what: object) -> list[str]:
    """What is wrong with the way a file was refused or read, if anything."""
    began = time.process_time()
    try:
        read()
    except UserError:
        pass
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return [f"{type(error).__name__}: {str(error)[:80]} at {place.filename}:{place.lineno} for {repr(what)[:80]}"]
    took = time.process_time() - began
    return [f"{took:.1f} s for {str(what)[:80]}"] if took > AT_ONCE_S else []


def fuzz(path: Path, document: Any, dump: Callable[[Any], bytes], read: Callable[[], object]) -> None:
    """Read the file of a document after every change; the file as it is must be read without a word."""
    rng = random.Random(path.name)
    good = dump(document)
    path.write_bytes(good)
    read()
    problems = []
    for _ in range(ROUNDS):
        other = changed(document, rng)
        path.write_bytes(dump(other))
        problems += problem_of(read, other)
        data = damaged(good, rng)
        path.write_bytes(data)
        problems += problem_of(read, data)
    for text in (deep(), "{" * 30_000, '{"a":' * 30_000, "9" * 6000, "\ufeff{}", "", "\0", "null", "- " * 5000):
        path.write_text(text, encoding="utf-8")
        problems += problem_of(read, text)
    path.write_bytes(good)
    assert not problems, "\n".join(problems)


def as_json(document: Any) -> bytes:
    return json.dumps(document).replace(str(HUGE), "9" * 6000).encode("utf-8", "surrogatepass")


def as_python(document: Any) -> bytes:
    return repr(document).encode("utf-8", "surrogatepass")


def as_yaml(document: Any) -> bytes:
    return yaml.safe_dump(document, sort_keys=False).encode("utf-8", "surrogatepass")


# ------------------------------------------------------------------------------------------------------ the readers


def test_layout_files(tmp_path: Path) -> None:
    document = {
        "grid": "XXPXX\nO 2 O\nX1  X\nXDXSX",
        "start_all_orders": [{"ingredients": ["onion", "onion", "onion"]}],
        "start_bonus_orders": [],
        "recipe_values": [20],
        "recipe_times": [20],
        "order_bonus": 2,
        "rew_shaping_params": {"PLACEMENT_IN_POT_REW": 3, "DISH_PICKUP_REWARD": 3, "SOUP_PICKUP_REWARD": 5},
    }
    path = tmp_path / "k.layout"
    fuzz(path, document, as_python, lambda: load_layout(path))


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "pool"
    add_members(folder, [index_member("m0", 0), member("m1", 1)])
    return folder


def test_manifests(pool: Path) -> None:
    path = pool / "manifest.json"

    def read() -> None:
        catalogue.partners([pool.parent])
        open_pool(pool)

    fuzz(path, json.loads(path.read_text()), as_json, read)


def repacked(tensors: dict[str, torch.Tensor], document: Any) -> bytes:
    """A checkpoint whose own hash fits what it now holds, as somebody who means it would write it."""
    import safetensors.torch

    if isinstance(document, dict):
        document.pop("sha256", None)
        document["sha256"] = checkpoint._content_hash(tensors, document)
    return safetensors.torch.save(tensors, metadata={"coord": as_json(document).decode("utf-8", "replace")})


def test_agent_files(pool: Path, tmp_path: Path) -> None:
    whole = pool / "m0.safetensors"
    tensors, _ = checkpoint.load(whole)
    path = tmp_path / "agent.safetensors"

    def read() -> None:
        catalogue.partners([tmp_path])
        agent = agent_files.read_agent(path)
        agent.player()
        agent.check_kitchen(load_layout("cramped_room"), "classic")

    document = checkpoint.read_document(whole)
    fuzz(path, document, lambda other: repacked(tensors, copy.deepcopy(other)), read)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool])
def test_tensors_of_another_kind(pool: Path, tmp_path: Path, dtype: torch.dtype) -> None:
    tensors, meta = checkpoint.load(pool / "m0.safetensors")
    name = sorted(tensors)[0]
    for other in (tensors[name].to(dtype), tensors[name][..., :0], torch.cat([tensors[name]] * 2)):
        checkpoint.save(tmp_path / "a.safetensors", {**tensors, name: other}, meta)
        with pytest.raises(UserError):
            agent_files.read_agent(tmp_path / "a.safetensors").player()


def test_saved_configurations(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    values = config.to_dict(config.load("train", ["layout=cramped_room"]))
    fuzz(path, values, as_yaml, lambda: config.load_saved("train", path))


def test_study_files(tmp_path: Path) -> None:
    example = config.CONFIG_FOLDER / "study" / "example.yaml"
    path = tmp_path / "study.yaml"
    fuzz(path, yaml.safe_load(example.read_text(encoding="utf-8")), as_yaml, lambda: load_study(path))


def test_settings(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    settings.save(settings.PlaySettings(), path)
    fuzz(path, json.loads(path.read_text()), as_json, lambda: settings.load(path))


def test_run_folders(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "rollout/return": 2.0}\n')
    (tmp_path / "config.yaml").write_text("layout: cramped_room\n")
    score = {
        "rows": [{"ego": "a", "partner": "b", "ego_seat": 0, "episodes": 3, "mean_return": 1.0, "ci95": [0.0, 2.0]}],
        "summary": {"mean_return": 1.0, "ci95": [0.0, 2.0]},
        "layout": "cramped_room",
    }
    matrix = {"members": ["a", "b"], "seat_returns": [[1.0, 2.0], [3.0, 4.0]], "sp_mean": 1.0}
    for name, document in (("score.json", score), ("matrix.json", matrix), ("env.json", {"cpu": "x"})):
        fuzz(tmp_path / name, document, as_json, lambda: read_folder(tmp_path))


def test_metrics(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    fuzz(path, {"step": 1, "rollout/return": 2.0}, as_json, lambda: (read_metrics(path), read_folder(tmp_path)))


def test_databases(tmp_path: Path) -> None:
    """Bytes of both kinds of database; rows that somebody changed are told in test_hostile_records.py."""
    games, labels = tmp_path / "games.sqlite", tmp_path / "labels.sqlite"
    store = Store(games)
    seats = [ScriptSeat([5, 1]), ScriptSeat([2, 3])]
    run_session(Session(load_layout("cramped_room"), seats, ticks=4, recorder=store.recorder()))
    store.close()
    LabelStore(labels).close()

    def read_labels() -> None:
        store = LabelStore(labels)
        try:
            store.answers()
        finally:
            store.close()

    def read_game_file() -> None:
        read_games(games)
        Store(games).close()

    problems: list[str] = []
    for path, read in ((games, read_game_file), (labels, read_labels)):
        rng, good = random.Random(0), path.read_bytes()
        for _ in range(ROUNDS):
            for rest in path.parent.glob(f"{path.name}-*"):
                rest.unlink()
            data = damaged(good, rng)
            path.write_bytes(data)
            problems += problem_of(read, data)
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("kind", ["fifo", "endless", "folder", "loop", "long", "nul"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    """Wherever a command takes the name of a file."""
    path: Path = tmp_path / "x.layout"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "endless":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "long":
        path = tmp_path / ("x" * 300)
    else:
        path = tmp_path / "a\0b"
    readers: list[Callable[[Path], object]] = [
        load_layout, load_study, read_games, agent_files.read_agent, agent_files.read_manifest, checkpoint.load,
        checkpoint.file_hash, LabelStore, read_folder, Store,
        lambda p: config.load_saved("train", p),
    ]  # fmt: skip
    for reader in readers:
        with pytest.raises(UserError):
            reader(path)
    settings.load(path)
