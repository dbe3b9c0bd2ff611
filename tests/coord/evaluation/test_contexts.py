"""Games in a row on the scoreboard: who plays them, what is kept, and the table by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from coord.agents.context.groups import GroupEncoder, PartnerGroup
from coord.agents.files import save_agent
from coord.evaluation import contexts
from coord.evaluation.matches import MatchRules
from coord.evaluation.report import scoreboard_page, scoreboard_text
from coord.evaluation.scoreboard_tables import read_board
from coord.evaluation.scores import ScoreRequest
from coord.nets.population import Arch
from coord.overcooked import IndexSpec, load_layout
from tests.agent_fixtures import card, index_member, network
from tests.coord.evaluation.test_scoreboard_tables import with_proxy

HOME = load_layout("cramped_room")
REQUEST = ScoreRequest(where=MatchRules(layout=HOME, horizon=12), episodes=9)


@pytest.fixture
def pecan(tmp_path: Path) -> str:
    """The file of an ego that infers the group of its partner."""
    spec = IndexSpec.for_layouts([HOME], "classic", 2)
    context = PartnerGroup(GroupEncoder.create(spec.vocab_size, [torch.Generator()]), spec, window=4, update="both")
    arch = Arch(kind="mlp_index", inputs=spec.vocab_size, hidden=(64,), extra=context.size)
    mine = card("pecan", arch=arch, spec=spec.to_dict(), context=context.settings())
    save_agent(tmp_path / "pecan.safetensors", mine, network(0, arch), context=context.tensors())
    return str(tmp_path / "pecan.safetensors")


def test_only_those_who_can_choose_play_games_in_a_row(tmp_path: Path, pecan: str) -> None:
    plain = index_member("plain", 0)
    save_agent(tmp_path / "plain.safetensors", plain.card, plain.net)
    assert contexts.played([str(tmp_path / "plain.safetensors")], "stay", REQUEST) == {}
    assert contexts.played(["greedy"], "stay", REQUEST) == {}
    found = contexts.played([pecan], "stay", REQUEST)["contexts"]
    assert list(found) == ["within", "between", "both"]
    for one in found.values():
        assert one["summary"]["episodes"] == 2 * 8  # both seats, two series of four
        assert [game["episodes"] for game in one["by_game"]] == [2 * 2] * 4


def part(mean: float) -> dict[str, Any]:
    return {"mean_return": mean, "ci95": [mean - 3, mean + 3]}


def test_the_table_averages_layouts(tmp_path: Path) -> None:
    for layout, shift in (("cramped_room", 0), ("coordination_ring", 8)):
        games = {"summary": part(20 + shift), "by_game": [part(10 + shift), part(30 + shift)]}
        with_proxy(tmp_path, layout, "pecan", 50, contexts={"between": games})
    with_proxy(tmp_path, "cramped_room", "sp", 40)
    board = read_board(tmp_path)
    table = contexts.table(board.cells["A"])
    assert list(table) == [("pecan", "between")]
    assert [one.mean for one in table["pecan", "between"]] == [24, 14, 34]
    low, high = table["pecan", "between"][0][1:]
    assert (low, high) == pytest.approx((24 - 3 / 2**0.5, 24 + 3 / 2**0.5))  # of two independent layouts
    text = scoreboard_text.text(tmp_path, "standard")
    assert "pecan   between  24.0 ±2.1  14.0 ±2.1  34.0 ±2.1" in text
    page = scoreboard_page.build_page(tmp_path, tmp_path / "page.html", {})
    assert "Getting to know a partner" in page.read_text()


def test_nothing_is_shown_where_nobody_played_in_a_row(tmp_path: Path) -> None:
    with_proxy(tmp_path, "cramped_room", "sp", 40)
    assert "in a row" not in scoreboard_text.text(tmp_path, "standard")
    page = scoreboard_page.build_page(tmp_path, tmp_path / "page.html", {})
    assert "Getting to know" not in page.read_text()
