"""The scoreboard's tables by hand, the README they are written into, and the page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coord import checkpoint
from coord.errors import UserError
from coord.evaluation import scoreboard_tables
from coord.evaluation.published import LAYOUTS, published_row
from coord.evaluation.report import scoreboard_page, scoreboard_text
from coord.evaluation.run_folder import Interval
from coord.evaluation.scoreboard import VARIANTS, cell_path
from coord.evaluation.scoreboard_tables import Board, read_board
from coord.files import atomic_write_json
from coord.run.cli import main

ONE, TWO = "cramped_room", "coordination_ring"
SETTINGS = {"rules": "classic", "horizon": 400, "episodes": 2}


def write(out: Path, protocol: str, layout: str, name: str, **body: Any) -> None:
    head = {"schema": 1, "protocol": protocol, "layout": layout, "method": name, "human_data": False, "training": {}}
    facts = {"egos": ["e" * 64], "partners": ["human_proxy"], "settings": SETTINGS}
    provenance = checkpoint.provenance()
    atomic_write_json(cell_path(out, protocol, layout, name), {**head, **facts, "provenance": provenance, **body})


def with_proxy(out: Path, layout: str, method: str, mean: float, **body: Any) -> None:
    """Protocol A: two seeds, two seats, two games each, all of them `mean` give or take 10 per seed.

    A resample has the worse seed twice in 1 of 4 cases, and so on both of two layouts in 1 of 16: bounds are at 10.
    """
    rows = [
        {"ego": f"e{seed}", "ego_seat": seat, "returns": [mean + shift, mean + shift]}
        for seed, shift in enumerate((-10, 10))
        for seat in (0, 1)
    ]
    conduct = {"collisions_per_100": mean / 10, "ego_idle_share": 0.25, "work_balance": None}
    gain = {"adaptation_gain": mean, "adaptation_ci95": [mean - 3, mean + 3]}
    played = {"summary": {}, "conduct": conduct | gain, "rows": rows}
    write(out, "A", layout, method, variants=dict.fromkeys(VARIANTS, played), **body)


def across(out: Path, layout: str, pair: str, mean: float, gap: float | None = None) -> None:
    figures = None
    if gap is not None:
        figures = {f"{x}_mean": v for x, v in (("sp", mean + gap), ("xp", mean), ("gap", gap))}
        figures |= {f"{x}_ci95": [figures[f"{x}_mean"] - 4, figures[f"{x}_mean"] + 4] for x in ("sp", "xp", "gap")}
    write(out, "C", layout, pair, mean_return=mean, gap=figures)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    run = {"folder": f"{ONE}/mep/pool", "role": "pool", "minutes": 4.0, "env_steps": 1000, "learners": 5}
    runs = [run | {"preset": None, "command": "coord population method=mep"}]
    for layout, minutes in ((ONE, 6.0), (TWO, 8.0)):
        ego = {**runs[0], "folder": f"{layout}/mep/egos", "role": "egos", "minutes": minutes, "env_steps": 500}
        with_proxy(tmp_path, layout, "mep", 100 if layout == ONE else 60, training={"runs": [*runs, ego]})
        with_proxy(tmp_path, layout, "stay", 20, human_data=layout == ONE)
    with_proxy(tmp_path, TWO, "fcp", 90)
    write(tmp_path, "B", TWO, "mep", br_prox=0.75, br_prox_ci95=[0.7, 0.8])
    for layout in (ONE, TWO):
        across(tmp_path, layout, "fcp--fcp", 40, gap=30 if layout == ONE else 10)
    across(tmp_path, ONE, "fcp--mep", 70)
    across(tmp_path, ONE, "mep--mep", 80, gap=5)
    return tmp_path


def test_methods_with_every_layout_come_first(out: Path) -> None:
    table = read_board(out).proxy("standard")
    assert list(table) == ["mep", "stay", "fcp"]
    assert table["mep"]["mean"].mean == pytest.approx(80)
    assert table["mep"][ONE] == pytest.approx((100, 90, 110))  # two seeds: both the one, both the other
    assert "mean" not in table["fcp"]


def test_a_shared_pool_counts_once_and_egos_by_layout(out: Path) -> None:
    training = read_board(out).training("mep")
    assert (training.minutes("pool"), training.minutes("egos")) == (2.0, 7.0)  # of 4 and 14 on two layouts
    assert (training.env_steps("pool"), training.env_steps("egos")) == (500, 500)
    assert read_board(out).training("stay").runs == ()


def test_cross_play_and_gaps(out: Path) -> None:
    board = read_board(out)
    assert scoreboard_tables.cross_methods(board) == ["mep", "fcp"]
    np.testing.assert_equal(scoreboard_tables.cross_matrix(board, [ONE]), [[80, 70], [70, 40]])
    nan = np.nan
    np.testing.assert_equal(scoreboard_tables.cross_matrix(board, [ONE, TWO]), [[nan, nan], [nan, 40]])
    gaps = scoreboard_tables.gap_table(board)
    assert list(gaps) == ["mep", "fcp"]
    half = np.hypot(4, 4) / 2  # the mean of two independent estimates, 4 either side each
    assert gaps["fcp"].gap == pytest.approx((20, 20 - half, 20 + half))
    assert (gaps["fcp"].self_play.mean, gaps["fcp"].layouts) == (60, 2)


def test_conduct_is_a_mean_over_layouts(out: Path) -> None:
    one = scoreboard_tables.conduct_table(read_board(out))["mep"]
    assert (one.collisions, one.idle, one.balance, one.layouts) == (8.0, 0.25, None, 2)
    assert one.gain.mean == 80


def test_published_figures_stand_beside_their_method() -> None:
    means = {"sp": 64.9, "pbt": 64.5, "fcp": 69.9, "trajedi": 75.0, "mep": 85.9, "pecan": 101.1, "ppo_bc": 109.1}
    for method, mean in means.items():
        found = scoreboard_tables.published_mean(method, LAYOUTS)
        assert found is not None
        assert found[0] == pytest.approx(mean, abs=0.06)
    assert published_row("belief") == {}
    assert scoreboard_tables.published_mean("mep", ["bottleneck"]) is None


def test_a_figure_as_text() -> None:
    assert scoreboard_text.figure(Interval(128.34, 120.0, 135.0)) == "128.3 ±7.5"
    assert scoreboard_text.figure(None) == "–"
    assert scoreboard_text.aligned([["a", "1"], ["bbb", "22"]]) == ["a     1", "bbb  22"]


def test_the_text_has_every_table(out: Path) -> None:
    lines = scoreboard_text.text(out, "standard").splitlines()
    row = next(line.split() for line in lines if line.startswith("mep"))
    assert row == ["mep", "80.0", "±10.0", "100.0", "±10.0", "60.0", "±10.0", "118.7", "2.0", "+", "7.0", "no"]
    assert sum(line.startswith("Protocol") for line in lines) == 4
    assert "yes" in next(line for line in lines if line.startswith("stay"))


def test_the_readme_is_rewritten_between_its_markers_only(out: Path, tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    file.write_text(f"# Title\n\n{scoreboard_text.BEGIN}\nold \\1\n{scoreboard_text.END}\n\nthe rest\n")
    scoreboard_text.rewrite_readme(file, out)
    once = file.read_text()
    assert once.startswith("# Title\n\n<!-- scoreboard:begin -->\n\n| method | mean | Cramped Rm. | Coord. Ring |")
    assert once.endswith("<!-- scoreboard:end -->\n\nthe rest\n")
    assert "| `mep` | **80.0 ±10.0** | 100.0 ±10.0 | 60.0 ±10.0 | 118.7 | 2.0 + 7.0 | no |" in once
    assert "old" not in once
    scoreboard_text.rewrite_readme(file, out)
    assert file.read_text() == once


@pytest.mark.parametrize("text", ["nothing", f"{scoreboard_text.END} {scoreboard_text.BEGIN}"])
def test_a_readme_without_markers_is_left_alone(out: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "README.md").write_text(text)
    with pytest.raises(UserError, match="put the lines"):
        scoreboard_text.rewrite_readme(tmp_path / "README.md", out)
    assert (tmp_path / "README.md").read_text() == text


def test_the_page_is_whole_and_loads_nothing(out: Path) -> None:
    page = scoreboard_page.build_page(out, out / "page.html", {"mep": "a <note>", "hsp": ""})
    html = page.read_text()
    assert not re.search(r"""(?:https?:)?//[\w.]|<link|<script|@import|\burl\(|\bsrc=""", html)
    assert "a &lt;note&gt;" in html
    for heading in ("Protocol A", "Protocol B", "Protocol C", "Conduct", "How it was trained", "What is missing"):
        assert heading in html
    assert "coord population method=mep" in html
    assert ("e" * 12) in html


def test_what_is_missing_comes_with_its_command(out: Path) -> None:
    hints = scoreboard_page.content(read_board(out), {"hsp": "", "mep": ""})["missing"]
    commands = [hint["command"] for hint in hints]
    assert f"coord scoreboard run out={out.as_posix()} methods=hsp layouts={ONE},{TWO} protocols=A" in commands
    assert f"coord scoreboard run out={out.as_posix()} methods=fcp layouts={ONE} protocols=A" in commands
    assert not any("methods=mep" in command for command in commands)


def test_nothing_played_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing was played in"):
        read_board(tmp_path)
    write(tmp_path, "B", TWO, "mep", br_prox=0.75, br_prox_ci95=[0.7, 0.8])
    assert isinstance(read_board(tmp_path), Board)
    with pytest.raises(UserError, match="nothing of protocol A"):
        scoreboard_text.markdown(read_board(tmp_path))
    html = scoreboard_page.build_page(tmp_path, tmp_path / "page.html", {}).read_text()
    assert "Protocol A (human proxy)" in html


@pytest.mark.parametrize(
    ("place", "damage"),
    [
        (("A", ONE, "mep"), {"variants": {"standard": {"conduct": {}, "rows": []}}}),
        (("A", TWO, "stay"), {"variants": "x"}),
        (("A", ONE, "stay"), {"training": []}),
        (("B", TWO, "mep"), {"br_prox_ci95": [0.7]}),
        (("C", ONE, "fcp--mep"), {"mean_return": "much"}),
        (("C", ONE, "mep--mep"), {"gap": {"sp_mean": None}}),
    ],
)
def test_a_cell_that_was_changed_by_hand_is_named_in_one_line(
    place: tuple[str, str, str], damage: dict[str, Any], out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = cell_path(out, *place)
    path.write_text(json.dumps(json.loads(path.read_text()) | damage))
    for what in ("table", "plot"):
        code, error = main(["scoreboard", what, f"out={out}"]), capsys.readouterr().err
        assert code == 2 or (what == "table" and "training" in damage)  # the table shows no costs of training
        assert f"error: {path} is damaged" in error or code == 0
        assert error.count("\n") == code // 2
