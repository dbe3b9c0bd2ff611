"""The scoreboard's cells: what is in them, when they are played again, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from coord import checkpoint
from coord.agents.files import save_agent
from coord.errors import UserError
from coord.evaluation import scoreboard
from coord.evaluation.agents import files_of
from coord.evaluation.scoreboard import GameSettings, MethodEntry
from coord.stats import nested_bootstrap_ci
from populations import pool
from populations.pool import NewMember
from tests.agent_fixtures import card, constant_policy, member

QUICK = GameSettings(horizon=30, episodes=3, pair_episodes=2)


@pytest.fixture
def egos(tmp_path: Path) -> MethodEntry:
    folder = tmp_path / "egos"
    pool.add_members(folder, [member("one", 1), member("two", 2)])
    return MethodEntry(method="mine", layout="cramped_room", refs=(str(folder),), training={"minutes": 2.5})


def noisy(agent_id: str, **fields: object) -> NewMember:
    return NewMember(card(agent_id, **fields), constant_policy([0.1, 0.2, 0.0, 0.0, 0.4, 0.3]))


def test_an_agent_of_anybodys_has_a_cell(tmp_path: Path) -> None:
    cook = tmp_path / "cook.py"
    cook.write_text("class Cook:\n obs = 'features'\n def act(self, obs, info): return info['tick'] % 6")
    one = MethodEntry(method="theirs", layout="cramped_room", refs=(f"python:{cook}:Cook",))
    assert scoreboard.play_with_proxy(tmp_path, one, QUICK, partner="random")
    cell = json.loads(scoreboard.cell_path(tmp_path, "A", "cramped_room", "theirs").read_text())
    assert {row["ego"] for row in cell["variants"]["standard"]["rows"]} == {"python:cook.py:Cook"}
    assert str(tmp_path) not in json.dumps(cell)
    assert not scoreboard.play_with_proxy(tmp_path, one, QUICK, partner="random")
    cook.write_text(cook.read_text().replace("% 6", "% 5"))
    assert scoreboard.play_with_proxy(tmp_path, one, QUICK, partner="random")
    with pytest.raises(UserError, match="nobody is scored with itself"):
        scoreboard.refuse_leaks(one.refs, one.refs)


def test_a_cell_holds_every_variant_and_is_played_once(tmp_path: Path, egos: MethodEntry) -> None:
    assert scoreboard.play_with_proxy(tmp_path, egos, QUICK, partner="random")
    path = scoreboard.cell_path(tmp_path, "A", "cramped_room", "mine")
    cell = json.loads(path.read_text())
    assert set(cell["variants"]) == {"standard", "no_stay", "masked", "no_stay_masked"}
    rows = cell["variants"]["standard"]["rows"]
    assert [(row["ego"], row["ego_seat"]) for row in rows] == [("one", 0), ("one", 1), ("two", 0), ("two", 1)]
    assert all(len(row["returns"]) == 3 for row in rows)
    assert cell["egos"] == [checkpoint.file_hash(p) for p in files_of(egos.refs[0])]
    assert cell["training"] == {"minutes": 2.5}
    assert not scoreboard.play_with_proxy(tmp_path, egos, QUICK, partner="random")
    assert scoreboard.play_with_proxy(tmp_path, egos, replace(QUICK, episodes=4), partner="random")
    pool.add_members(Path(egos.refs[0]), [member("three", 3)])
    assert scoreboard.play_with_proxy(tmp_path, egos, replace(QUICK, episodes=4), partner="random")


def test_agents_that_learned_from_the_partner_are_refused(tmp_path: Path) -> None:
    save_agent(tmp_path / "p.safetensors", card("p"), constant_policy([0.0] * 6))
    known = checkpoint.file_hash(tmp_path / "p.safetensors")
    pool.add_members(tmp_path / "ego", [noisy("e", extra={"trained_with": ["0" * 64, known]})])
    who = MethodEntry(method="m", layout="cramped_room", refs=(str(tmp_path / "ego"),))
    with pytest.raises(UserError, match="was trained with a partner of this evaluation"):
        scoreboard.play_with_proxy(tmp_path, who, QUICK, partner=str(tmp_path / "p.safetensors"))
    assert not (tmp_path / "cells").exists()


def test_nobody_is_scored_with_itself(tmp_path: Path, egos: MethodEntry) -> None:
    proxy = replace(egos, refs=("human_proxy",))
    with pytest.raises(UserError, match="human_proxy holds a partner of this evaluation"):
        scoreboard.play_with_proxy(tmp_path, proxy, QUICK)
    with pytest.raises(UserError, match="holds a partner"):
        scoreboard.play_with_preferring(tmp_path, egos, QUICK, f"{egos.refs[0]}#one")


def test_agents_of_the_held_out_games_are_refused(tmp_path: Path) -> None:
    pool.add_members(tmp_path / "ego", [noisy("e", human_data="test")])
    who = MethodEntry(method="m", layout="cramped_room", refs=(str(tmp_path / "ego"),))
    with pytest.raises(UserError, match="held-out half"):
        scoreboard.play_with_proxy(tmp_path, who, QUICK, partner="random")


def test_preferring_partners_are_divided_by_their_own_best_response(tmp_path: Path, egos: MethodEntry) -> None:
    rivals = [noisy("p0", extra={"best_returns": [0.0, 0.0]}), noisy("p1", extra={"best_returns": [40.0, 60.0]})]
    pool.add_members(tmp_path / "bp", rivals)
    assert scoreboard.best_returns(str(tmp_path / "bp")) == {"p0": (0.0, 0.0), "p1": (40.0, 60.0)}
    assert scoreboard.play_with_preferring(tmp_path, egos, QUICK, str(tmp_path / "bp"))
    cell = json.loads(scoreboard.cell_path(tmp_path, "B", "cramped_room", "mine").read_text())
    # Nobody earns anything in 30 ticks: 1 with p0 (its best response earns nothing either), 0 with p1.
    assert cell["br_prox"] == pytest.approx(0.5)
    assert cell["br_prox_ci95"] == [0.5, 0.5]


def test_partners_without_best_responses_are_refused(tmp_path: Path, egos: MethodEntry) -> None:
    pool.add_members(tmp_path / "plain", [member("plain", 7)])
    with pytest.raises(UserError, match="no best response"):
        scoreboard.play_with_preferring(tmp_path, egos, QUICK, str(tmp_path / "plain"))


def test_cross_play_has_both_seats_and_a_gap_only_within_a_method(tmp_path: Path, egos: MethodEntry) -> None:
    pool.add_members(tmp_path / "other", [noisy("a"), noisy("b"), noisy("c")])
    other = replace(egos, method="other", refs=(str(tmp_path / "other"),))
    assert scoreboard.play_across(tmp_path, egos, other, QUICK)
    assert scoreboard.play_across(tmp_path, egos, egos, QUICK)
    across = scoreboard.cells(tmp_path, "C")
    assert np.shape(across["mine--other", "cramped_room"]["returns"]) == (2, 3, 2, 2)
    assert across["mine--other", "cramped_room"]["gap"] is None
    assert across["mine--mine", "cramped_room"]["gap"]["gap_mean"] == 0
    assert not scoreboard.play_across(tmp_path, egos, other, QUICK)


def test_a_damaged_cell_is_named(tmp_path: Path, egos: MethodEntry) -> None:
    path = scoreboard.cell_path(tmp_path, "A", "cramped_room", "mine")
    path.parent.mkdir(parents=True)
    path.write_text("{")
    with pytest.raises(UserError, match=r"mine\.json is damaged"):
        scoreboard.play_with_proxy(tmp_path, egos, QUICK, partner="random")


def test_the_table_averages_seeds_seats_and_layouts() -> None:
    def cell(shift: float) -> dict[str, object]:
        rows = [
            {"ego": ego, "ego_seat": seat, "returns": [shift + base, shift + base + 20]}
            for ego, base in (("x", 0.0), ("y", 40.0))
            for seat in (0, 1)
        ]
        return {"variants": {"standard": {"rows": rows}}}

    played = {("m", "one"): cell(0), ("m", "two"): cell(100), ("half", "one"): cell(0)}
    table = scoreboard.proxy_table(played, "standard", ["one", "two"])
    assert table["m"]["one"].mean == pytest.approx(30)
    assert table["m"]["mean"].mean == pytest.approx(80)
    assert "mean" not in table["half"]
    alone = nested_bootstrap_ci([[[0, 20], [0, 20]], [[40, 60], [40, 60]]], seed=0)
    assert (table["m"]["one"].low, table["m"]["one"].high) == alone
    width = table["m"]["mean"].high - table["m"]["mean"].low
    assert 0 < width < alone[1] - alone[0]  # layouts are independent: their mean is surer than each
