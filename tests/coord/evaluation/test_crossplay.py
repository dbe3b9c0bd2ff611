"""The cross-play matrix: seats, gap, picture, command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image

from coord.errors import UserError
from coord.evaluation import crossplay
from coord.evaluation.crossplay import cross_play, draw_heat_map
from coord.evaluation.matches import Games, Match, MatchRules
from coord.overcooked import EVENTS, load_layout
from coord.run.cli import main
from populations.pool import add_members, open_pool
from tests.agent_fixtures import index_member, member

WHERE = MatchRules(layout=load_layout("cramped_room"), horizon=30)


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    add_members(
        tmp_path / "pool",
        [
            member("a-final", 1),
            member("a-init", 1, checkpoint="init"),
            member("b-final", 2),
            member("c-final", 3),
        ],
    )
    return tmp_path / "pool"


def result_of(pool: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    """Cross-play in which the return of (i in seat 0, j) is 10 i + j, always."""

    def played(_: MatchRules, agents: list, matches: list[Match], *, episodes: int, seed: int) -> Games:
        assert all(match.ego_seat == 0 for match in matches)
        returns = np.array([[10.0 * match.ego + match.partner] * episodes for match in matches], np.float32)
        quarters = np.zeros((len(matches), episodes, 4), np.float32)
        return Games(returns, np.zeros((len(matches), episodes, 2, len(EVENTS)), np.int32), quarters)

    monkeypatch.setattr(crossplay, "play_matches", played)
    opened = open_pool(pool)
    return cross_play(WHERE, opened.agents(), opened.entries, episodes=3)


def test_matrix_and_gap_by_hand(pool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = result_of(pool, monkeypatch)
    assert result["seat_returns"] == [[10.0 * i + j for j in range(4)] for i in range(4)]
    # Final members are 0, 2, 3: self-play 0, 22, 33; the other six cells average as much.
    assert result["gap_members"] == ["a-final", "b-final", "c-final"]
    assert result["sp_mean"] == pytest.approx(55 / 3)
    assert result["xp_mean"] == pytest.approx((2 + 3 + 20 + 23 + 30 + 32) / 6)
    assert result["gap_mean"] == pytest.approx(0.0)
    json.dumps(result, allow_nan=False)


def test_one_training_run_has_no_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_members(tmp_path, [member("init", 1, checkpoint="init"), member("final", 1)])
    result = result_of(tmp_path, monkeypatch)
    assert result["gap_mean"] is None
    draw_heat_map(result, tmp_path / "one.png")


def test_heat_map_is_a_picture_with_a_dark_and_a_light_end(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_heat_map(result_of(pool, monkeypatch), tmp_path / "new" / "map.png")
    with Image.open(tmp_path / "new" / "map.png") as image:
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    assert min(image.size) > 300
    colours = {tuple(colour) for colour in pixels.tolist()}
    for end in (0.0, 1.0):  # returns 0 and 33
        assert tuple(int(c) for c in colormaps["viridis"](end, bytes=True)[:3]) in colours
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        draw_heat_map(result_of(pool, monkeypatch), tmp_path / "file" / "map.png")


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_members(tmp_path / "pool", [member("a", 1), index_member("i", 2)])
    words = [str(tmp_path / "pool"), "episodes=2", "horizon=20", f"out={tmp_path / 'xp'}"]
    assert main(["crossplay", *words]) == 0
    result = json.loads((tmp_path / "xp" / "crossplay.json").read_text())
    assert result["members"] == ["a", "i"]
    assert np.shape(result["seat_returns"]) == (2, 2)
    assert result["rules"] == "classic"
    assert (tmp_path / "xp" / "crossplay.png").stat().st_size > 1000
    assert "gap" in capsys.readouterr().out


def test_command_refuses_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_members(tmp_path / "mixed", [member("a", 1), index_member("i", 2, layout="coordination_ring")])
    for words, message in (
        ([], "which agents"),
        ([str(tmp_path)], "is not a pool"),
        ([str(tmp_path / "mixed")], "trained for layout coordination_ring"),
    ):
        assert main(["crossplay", *words]) == 2
        assert message in capsys.readouterr().err
