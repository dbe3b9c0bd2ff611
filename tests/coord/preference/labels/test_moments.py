"""Labels from moments of games: a run learns them beside its own, and counts them apart."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from coord.overcooked import OvercookedVectorEnv, load_layout
from coord.preference.labels import moments
from coord.preference.labels.moments import Sight
from coord.preference.labels.segments import Queries
from coord.preference.labels.store import Answer, LabelStore
from coord.run import cli, config
from coord.run.logger import read_metrics
from populations.pool import add_members
from tests.agent_fixtures import index_member

HOME, LENGTH = load_layout("cramped_room"), 6
TINY = (
    "prefer", "env=overcooked", "method=pebble", "partners=pool", "members=2", "horizon=20", "envs_per_member=4",
    "total_steps=320", "seed_steps=80", "unsup_steps=80", "labels=4", "session_labels=2", "session_every=80",
    "eval_every=320", "eval_episodes=2", "log_every=80", "reset_updates=2", "algo.hidden=[64]", "algo.batch_size=16",
    "reward.hidden=[8]", f"query.length={LENGTH}", "threads=1",
)  # fmt: skip


def compare(file: Path, answers: list[float], length: int = LENGTH, rules: str = "classic") -> int:
    """A store with moments of random play and these answers, nan for a skip; the number of facts."""
    env = OvercookedVectorEnv(HOME, 1, rules=rules)
    facts, rng, count = len(env.spec.possible(HOME)), np.random.default_rng(0), len(answers)
    obs = rng.integers(0, 2, (count, 2, length, 2 * facts + 6)).astype(np.float32)  # facts, partner's act, change
    act = np.eye(6, dtype=np.float32)[rng.integers(0, 6, (count, 2, length))]
    where = rng.integers(0, 9, (2, count, 2))
    with closing(LabelStore(file)) as store:
        pairs = Queries(obs, act, np.zeros((count, 2, length), np.float32), *where)
        ids = store.add_queries(moments.run_name(HOME, rules, length), 0, pairs, first_number=0, session=0, wanted=0)
        store.add_answers([Answer(query=i, annotator="ann", target=t) for i, t in zip(ids, answers, strict=True)])
    return facts


def test_stores_are_joined_and_skips_left_out(tmp_path: Path) -> None:
    files = [str(tmp_path / name) for name in ("one.sqlite", "two.sqlite")]
    facts = compare(Path(files[0]), [1.0, np.nan, 0.5])
    compare(Path(files[1]), [0.0])
    run = moments.run_name(HOME, "classic", LENGTH)
    found = moments.labels(files, run, LENGTH, Sight(facts), 6)
    assert found.labels.target.tolist() == [1.0, 0.5, 0.0]
    every = moments.labels(files, run, LENGTH, Sight(facts, facts + 6, partner=True, change=True), 6).labels.obs
    partner, change = (
        moments.labels(files, run, LENGTH, Sight(facts, width, **{name: True}), 6).labels.obs
        for name, width in (("partner", 6), ("change", facts))
    )
    assert every.shape[-1] == 2 * facts + 6
    assert np.array_equal(found.labels.obs, every[..., :facts])
    assert np.array_equal(partner, every[..., : facts + 6])
    assert np.array_equal(change, np.delete(every, slice(facts, facts + 6), -1))
    sight = Sight(facts, facts, change=True, changed=lambda x: x[..., ::-1])  # as a run may read a change otherwise
    flipped = moments.labels(files, run, LENGTH, sight, 6).labels.obs
    assert np.array_equal(flipped[..., :facts], change[..., :facts])
    assert np.array_equal(flipped[..., facts:], change[..., :facts - 1 : -1])
    assert found.number.tolist() == [-1, -2, -3]
    assert found.annotator == ["ann"] * 3
    assert found.unsafe.shape == (3, 2)
    assert len(found.reasons) == 3


@pytest.mark.parametrize("words", [(), ("reward_sees_partner=false", "reward_sees_change=false")])
def test_a_run_learns_them_beside_its_own(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    add_members(tmp_path / "pool", [index_member("a", 0), index_member("b", 1)])
    compare(tmp_path / "labels.sqlite", [1.0, 0.0, np.nan])
    assert cli.main([*TINY, *words, "extra_labels=labels.sqlite", "out=run"]) == 0
    last = read_metrics(tmp_path / "run" / "metrics.jsonl")[-1]
    assert (last["reward/asked"], last["reward/labels"], last["reward/skipped"]) == (4, 4 + 2, 0)


def test_moments_that_were_all_skipped_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    add_members(tmp_path / "pool", [index_member("a", 0), index_member("b", 1)])
    compare(tmp_path / "labels.sqlite", [np.nan, np.nan])
    assert cli.main([*TINY, "extra_labels=labels.sqlite", "out=run"]) == 0
    assert read_metrics(tmp_path / "run" / "metrics.jsonl")[-1]["reward/labels"] == 4


def test_moments_that_do_not_fit_are_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    add_members(tmp_path / "pool", [index_member("a", 0), index_member("b", 1)])
    compare(tmp_path / "longer.sqlite", [1.0], length=LENGTH + 1)
    for words, said in (
        (["extra_labels=longer.sqlite"], "it has moments cramped_room"),
        (["extra_labels=none.sqlite"], "no label store 'none.sqlite'"),
        (["env=walker_walk", "partners=[]", "layout=null", "extra_labels=longer.sqlite"], "for env=overcooked"),
    ):
        assert cli.main([*TINY, *words, "out=run"]) == 2
        assert said in capsys.readouterr().err
        assert not (tmp_path / "run").exists()


def test_moments_are_as_long_as_what_runs_with_sac_ask_about() -> None:
    from play.game.moments import LENGTH as SHOWN

    cfg = config.load("prefer", ["env=overcooked", "partners=pool"])
    assert cfg.reward.stored_length(cfg.query.length) == SHOWN
