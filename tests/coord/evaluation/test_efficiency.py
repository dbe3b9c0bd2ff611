"""The report on labels: scores by hand, curves and wishes from made-up cells, text, README and page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coord.errors import UserError
from coord.evaluation import efficiency, scoreboard
from coord.evaluation.efficiency import ORACLE, UNTRAINED, Point
from coord.evaluation.matches import Games, Match
from coord.evaluation.report import efficiency_page, efficiency_text
from coord.evaluation.scoreboard import GameSettings
from coord.overcooked import EVENTS
from coord.preference.tasks.kitchen_teachers import UTILITIES
from coord.run.cli import main
from populations.pool import NewMember, add_members
from tests.agent_fixtures import card, constant_policy, member

LAYOUT = "cramped_room"
SETTINGS = GameSettings(horizon=30, episodes=2)


def cell(out: Path, part: str, name: str, value: float, **head: Any) -> None:
    """A cell of two seeds, two seats and three games around a mean."""
    games = value + np.array([-1.0, 0.0, 1.0]) + np.zeros((2, 2, 3))
    body = {
        "returns": games.tolist(),
        "scores": {wants: (games - 10).tolist() for wants in UTILITIES},
        "events": dict.fromkeys(EVENTS, 2.0),
    }
    training = {"minutes": 1.5, "steps": 1000, "command": "coord prefer ...", "rank_correlation": 0.5}
    told = {"part": part, "name": name, "layout": LAYOUT, "learner": "ppo", "wants": "return", "training": training}
    path = scoreboard.cell_path(out, part, LAYOUT, name)
    scoreboard.write_cell(path, "key", {**told, "labels": None, "proxies": ["human_proxy"], **head}, body, SETTINGS)


@pytest.fixture
def made_up(tmp_path: Path) -> Path:
    cell(tmp_path, "curves", "ppo-oracle", 100, method=ORACLE)
    cell(tmp_path, "curves", "ppo-no_labels", 5, method=UNTRAINED, labels=0)
    for method, values in (("pebble", (40, 80)), ("mrn_corrected", (50, 95))):
        for labels, value in zip((50, 1000), values, strict=True):
            cell(tmp_path, "curves", f"ppo-{method}-{labels}", value, method=method, labels=labels)
    cell(tmp_path, "utilities", "no_collisions-ppo-oracle", 90, method=ORACLE, wants="no_collisions")
    name = "no_collisions-ppo-mrn_corrected-500"
    cell(tmp_path, "utilities", name, 70, method="mrn_corrected", labels=500, wants="no_collisions")
    facts = {"minutes": 1.0, "steps": 10, "command": "coord rlhf", "rank_correlation": None}
    for name, value, kl in (("imitation", 30, None), ("with_kl", 60, 0.3), ("without_kl", 55, 2.0)):
        training = {**facts, "kl": kl, "accuracy": 0.8}
        cell(tmp_path, "rlhf", name, value, method="rlhf", labels=500, training=training)
    return tmp_path


def test_curves_share_their_start_and_know_their_oracle(made_up: Path) -> None:
    curves = {curve.method: curve for curve in efficiency.curves(efficiency.read(made_up))}
    assert set(curves) == {"pebble", "mrn_corrected"}
    assert {labels: value.mean for labels, value in curves["pebble"].points.items()} == {0: 5, 50: 40, 1000: 80}
    assert curves["mrn_corrected"].points[0] == curves["pebble"].points[0]
    assert curves["mrn_corrected"].share(1000) == pytest.approx(0.95)
    assert curves["pebble"].share(200) is None
    low, high = curves["pebble"].points[50][1:]
    assert 39 < low < 40 < high < 41


def test_only_the_start_is_a_curve_too(tmp_path: Path) -> None:
    cell(tmp_path, "curves", "ppo-no_labels", 5, method=UNTRAINED, labels=0)
    (curve,) = efficiency.curves(efficiency.read(tmp_path))
    assert (curve.method, list(curve.points), curve.oracle) == (UNTRAINED, [0], None)


def test_wishes_are_scored_by_the_teacher(made_up: Path) -> None:
    (wish,) = efficiency.wishes(efficiency.read(made_up))
    assert (wish.wants, wish.labels, wish.rank_correlation) == ("no_collisions", 500, 0.5)
    assert wish.paid is not None
    assert wish.by_return is not None
    assert (wish.taught.mean, wish.paid.mean, wish.by_return.mean, wish.returns.mean) == (60, 80, 90, 70)
    assert wish.events == {"collision": (2.0, 2.0)}


def test_scores_count_the_egos_own_events() -> None:
    """Two games: the ego sits in seat 1 of the first and in seat 0 of the second match."""
    events = np.zeros((2, 1, 2, len(EVENTS)), np.int32)
    events[0, 0, 0, EVENTS.index("collision")] = 7  # the partner's
    events[0, 0, 1, EVENTS.index("collision")] = 2
    events[1, 0, 0, EVENTS.index("collision")] = 3
    games = Games(np.array([[20.0], [40.0]], np.float32), events, np.zeros((2, 1, 4), np.float32))
    own = efficiency.own_events(games, [Match(0, 1, 1), Match(0, 1, 0)])
    assert own[..., EVENTS.index("collision")].tolist() == [[2], [3]]
    one = UTILITIES["no_collisions"]
    assert (one.task * games.returns + own @ one.vector()).tolist() == [[10.0], [25.0]]


def egos(folder: Path) -> Point:
    add_members(folder, [NewMember(card(f"e{i}", seed=i), constant_policy([0, 0, 0, 0, 0, 0.0])) for i in range(2)])
    return Point(part="curves", name="x", layout=LAYOUT, learner="ppo", method="pebble", labels=50, refs=(str(folder),))


def test_a_cell_is_played_once_and_again_when_something_changes(tmp_path: Path) -> None:
    point = egos(tmp_path / "egos")
    assert efficiency.play(tmp_path, point, SETTINGS, ["random"])
    assert not efficiency.play(tmp_path, point, SETTINGS, ["random"])
    assert efficiency.play(tmp_path, point, GameSettings(horizon=31, episodes=2), ["random"])
    found = efficiency.read(tmp_path).cells["curves"]["x", LAYOUT]
    assert np.array(found["returns"]).shape == (2, 2, 2)  # seeds, seats, games
    assert np.array(found["scores"]["no_collisions"]).shape == (2, 2, 2)
    assert set(found["events"]) == set(EVENTS)
    assert (found["labels"], found["proxies"]) == (50, ["random"])


def test_nobody_is_scored_with_whom_it_knows(tmp_path: Path) -> None:
    point = egos(tmp_path / "egos")
    with pytest.raises(UserError, match="nobody is scored with itself"):
        efficiency.play(tmp_path, point, SETTINGS, [str(tmp_path / "egos")])
    add_members(tmp_path / "leak", [member("m", 0, human_data="test")])
    leak = Point(part="curves", name="y", layout=LAYOUT, learner="ppo", method="p", refs=(str(tmp_path / "leak"),))
    with pytest.raises(UserError, match="held-out half"):
        efficiency.play(tmp_path, leak, SETTINGS, ["random"])
    assert not (tmp_path / "cells").exists()


def test_text_readme_and_page_show_the_figures(made_up: Path, tmp_path: Path) -> None:
    text = efficiency_text.text(made_up)
    row = next(line for line in text.splitlines() if "mrn_corrected" in line)
    assert row.split()[:3] == [LAYOUT, "PPO", "mrn_corrected"]
    assert row.split()[-1] == "0.95"
    assert "–" in next(line for line in text.splitlines() if "imitation" in line)
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{efficiency_text.BEGIN}\nold\n{efficiency_text.END}\nafter\n", encoding="utf-8")
    efficiency_text.rewrite_readme(readme, made_up)
    shown = readme.read_text(encoding="utf-8")
    assert shown.startswith("before\n")
    assert shown.endswith("after\n")
    assert "old" not in shown
    assert "| cramped_room | PPO | pebble | 5.0 ±" in shown
    page = efficiency_page.build_page(made_up, tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count('<svg class="chart"') == 1
    for tick in ("0", "50", "1000"):
        assert f'text-anchor="middle">{tick}</text>' in page
    assert "true reward" in page
    assert "no collisions" in page
    assert "http" not in page.replace("http-equiv", "")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no cells yet"):
        efficiency.read(tmp_path)


def test_a_cell_that_was_changed_by_hand_is_named(
    made_up: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(made_up)  # a long path would be told with its middle left out
    path = sorted(Path().glob("cells/curves/*/*.json"))[0]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"returns": [[1.0], "x"]}))
    for what in ("table", "plot"):
        assert main(["efficiency", what, "out=."]) == 2
        assert f"error: {path} is damaged (ValueError" in capsys.readouterr().err
