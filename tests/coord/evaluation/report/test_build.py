"""The report: complete, well-formed, self-contained and honest about what is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from coord.agents.players import RandomAgent, StayAgent
from coord.errors import UserError
from coord.evaluation.crossplay import cross_play
from coord.evaluation.matches import MatchRules, both_seats, play_matches
from coord.evaluation.report.build import build_report
from coord.evaluation.report.replay import Game, replay, save_game, sprite_sheet
from coord.evaluation.report.score_parts import AgentNames
from coord.evaluation.run_folder import Interval, combine, difference, read_folder
from coord.evaluation.scores import ScoreRequest, score
from coord.overcooked import EVENTS, load_layout
from coord.run import cli
from tests.html_page import Page

NORTH, SOUTH, EAST, WEST, STAY, INTERACT = range(6)


# --- folders to report on


def one_soup() -> list[list[int]]:
    """Joint actions on cramped_room: seat 0 cooks and serves one soup while seat 1 stays where it is."""
    onion = [WEST, INTERACT, EAST, NORTH, INTERACT]  # from (1, 1): fetch, go below the pot, put in
    acts = [NORTH, *onion, WEST, *onion, WEST, *onion]
    acts += [WEST, SOUTH, SOUTH, INTERACT, NORTH, EAST, NORTH]  # fetch a dish, back below the pot
    acts += [STAY] * 14 + [INTERACT]  # wait until it is cooked
    acts += [SOUTH, EAST, SOUTH, INTERACT]
    return [[act, STAY] for act in acts]


def game(agents: tuple[str, str] = ("ego", "human_proxy"), **changes: Any) -> Game:
    layout = load_layout("cramped_room")
    fields: dict[str, Any] = {"total": 20.0, "joint_actions": one_soup(), **changes}
    return Game(
        layout="cramped_room", grid=list(layout.grid), rules="classic", horizon=400, agents=list(agents), **fields
    )


def write_run(folder: Path, final: float, rows: int = 30) -> None:
    folder.mkdir(parents=True)
    config = {"algo": {"name": "ppo"}, "layout": "cramped_room", "rules": "classic", "horizon": 400, "seed": 7}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "command.txt").write_text(f"coord train layout=cramped_room out={folder.name}\n")
    (folder / "env.json").write_text(json.dumps({"cpu": "a processor", "libraries": {"torch": "2.13.0"}}))
    with open(folder / "metrics.jsonl", "w") as file:
        for i in range(1, rows + 1):
            value = final * i / rows
            row = {"step": 1000 * i, "rollout/return": value, "train/entropy": None if i == 3 else 1.0 / i}
            row |= {f"rollout/return/{member}": value + 5 * member for member in (-1, 1)}
            row |= {"eval/return/bc_train": value / 2, "time/elapsed_s": 6.0 * i, "time/steps_per_s": 1e5}
            file.write(json.dumps(row) + "\n")
        file.write('{"step": 99000, "rollout/ret')  # what a killed run leaves


def evaluation(ego: str, means: dict[str, tuple[float, float]], half: float = 5.0, **extra: Any) -> dict[str, Any]:
    """A score document: per partner the means of both seats."""
    rows = [
        {
            "ego": ego,
            "partner": partner,
            "ego_seat": seat,
            "episodes": 50,
            "mean_return": mean,
            "ci95": [mean - half, mean + half],
            "events": {"delivery": {"ego": 3.0, "partner": 2.0}, "idle": {"ego": 100.0, "partner": 40.0}},
            "event_se": {"delivery": {"ego": 0.1, "partner": 0.1}, "idle": {"ego": 2.0, "partner": 2.0}},
        }
        for partner, both in means.items()
        for seat, mean in enumerate(both)
    ]
    mean = float(np.mean([row["mean_return"] for row in rows]))
    bounds = [mean - half, mean + half]
    return {
        "schema": 1,
        "layout": "cramped_room",
        "rules": "classic",
        "horizon": 400,
        "seed": 11,
        "stochastic": True,
        "rows": rows,
        "summary": {"mean_return": mean, "ci95": bounds, "iqm": mean, "iqm_ci95": bounds},
        **extra,
    }


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    folder = tmp_path / "demo"
    for name, final in (("pool", 200.0), ("sp", 205.0), ("fcp", 150.0)):
        write_run(folder / name, final)
    members = ["s0-init", "s0-final", "s1-init", "s1-final"]
    write_json(folder / "pool/manifest.json", {"schema": 1, "members": [{"id": name, "seed": 3} for name in members]})
    matrix = {
        "schema": 1,
        "layout": "cramped_room",
        "episodes": 20,
        "members": members,
        "seat_returns": [[float(10 * i + j) for j in range(4)] for i in range(4)],
        "gap_mean": 51.5,
        "gap_ci95": [42.5, 60.5],
        "sp_mean": 16.5,
        "sp_ci95": [15.5, 17.5],
        "xp_mean": 14.5,
        "xp_ci95": [13.5, 15.5],
    }
    write_json(folder / "pool/crossplay.json", matrix)
    write_json(folder / "eval/fcp.json", evaluation("fcp", {"human_proxy": (120.0, 130.0)}, half=3.0))
    write_json(folder / "eval/sp.json", evaluation("sp", {"human_proxy": (90.0, 80.0)}, half=4.0))
    pool_means = {name: (101.25 + i, 91.75 + i) for i, name in enumerate(members)}
    write_json(folder / "eval/fcp_pool.json", evaluation("fcp", pool_means))
    (folder / "games").mkdir()
    for i in range(4):
        save_game(game(("fcp", "human_proxy")), folder / f"games/{i}.json")
    write_json(folder / "summary.json", {"title": "A demo", "ego": "fcp", "baseline": "sp", "labels": {"fcp": "FCP"}})
    return folder


def page_of(folder: Path) -> Page:
    return Page(build_report(folder))


# --- the whole page


def test_the_page_is_well_formed_and_loads_nothing(demo: Path) -> None:
    page = page_of(demo)
    references = [attrs[key] for _, attrs in page.tags for key in ("src", "href", "action", "data") if attrs.get(key)]
    assert len(references) >= 8  # the table of contents
    assert all(str(reference).startswith("#") for reference in references)
    assert not [tag for tag, _ in page.tags if tag in ("link", "iframe", "object", "embed", "base")]
    assert "url(" not in page.source
    assert "@import" not in page.source
    policy = next(one for one in page.all("meta") if one.get("http-equiv") == "Content-Security-Policy")
    assert str(policy["content"]).startswith("default-src 'none'")
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = {str(one["href"])[1:] for one in page.all("a")}
    assert targets <= set(ids)


def test_every_picture_and_control_has_a_name(demo: Path) -> None:
    page = page_of(demo)
    pictures = [*page.all("svg"), *page.all("canvas")]
    assert len(pictures) > 6
    assert all(one.get("aria-label") or one.get("aria-hidden") == "true" for one in pictures)
    assert all(one.get("aria-label") for one in [*page.all("input"), *page.all("select")])


def test_the_answer_comes_first_and_compares_with_the_baseline(demo: Path) -> None:
    words = page_of(demo).words
    assert "FCP earns 125.0 points per game [122.0, 128.0] with the held-out human proxy, about 6.2 soups" in words
    assert "That is +40.0 [+35.0, +45.0] against sp (85.0 [81.0, 89.0]): a clear gain" in words  # hypot(3, 4) = 5
    assert words.index("FCP earns") < words.index("Both seats")
    assert "PECAN Lou et al. 2023 138.2 [135.5, 141.8]" in words
    assert "51.5 [42.5, 60.5]" in words  # the gap of the pool


def test_every_row_every_cell_and_every_event_appears(demo: Path) -> None:
    words = page_of(demo).words
    rows = 0
    for file in (demo / "eval").iterdir():
        for row in json.loads(file.read_text())["rows"]:
            low, high = row["ci95"]
            label = "FCP" if row["ego"] == "fcp" else row["ego"]
            partner = row["partner"].replace("human_proxy", "human proxy")
            text = f"{label} {partner} {row['ego_seat']} {row['mean_return']:.1f} [{low:.1f}, {high:.1f}] 50"
            assert words.count(text) == 1, text
            rows += 1
    assert rows == 12
    assert all(f" {10 * i + j} " in words for i in range(4) for j in range(4))
    assert "3.0 [2.8, 3.2]" in words  # deliveries: 3 +- 1.96 * 0.1
    assert "25.0 [24.0, 26.0]" in words  # idle: 100 of 400 ticks +- 1.96 * 2 / 400


def test_curves_seeds_commands_and_versions_appear(demo: Path) -> None:
    page = page_of(demo)
    charts = [str(one["aria-label"]) for one in page.all("svg") if one.get("class") == "chart"]
    assert {label.split(":")[0] for label in charts} >= {"rollout/return", "eval/return", "train/entropy"}
    assert not [label for label in charts if label.startswith("rollout/return/")]  # members are the band of their mean
    assert page.source.count('class="band') >= 3
    assert "fcp 7 30k 3.0 100k" in page.words  # seed, steps, minutes, steps per second
    assert "coord train layout=cramped_room out=fcp" in page.words
    assert "libraries torch 2.13.0" in page.words


def test_games_are_best_median_and_worst(demo: Path) -> None:
    page = page_of(demo)
    assert [title for title in ("Best game", "Median game", "Worst game") if f"{title}: 20 points" in page.words] == [
        "Best game",
        "Median game",
        "Worst game",
    ]
    assert len(page.all("canvas")) == 3
    assert "(4 games recorded)" in page.words


def test_a_page_with_many_long_games_stays_small(demo: Path) -> None:
    acts = np.random.default_rng(0).integers(0, 5, size=(400, 2)).tolist()  # nobody ever interacts
    for pair in range(4):
        for i in range(3):
            save_game(game((f"a{pair}", "b"), joint_actions=acts, total=0.0), demo / f"games/{pair}-{i}.json")
    page = page_of(demo)
    assert len(page.all("canvas")) == 12
    assert len(page.source.encode()) < 3_000_000


# --- what is missing or broken


def test_a_training_run_alone_shows_curves_and_says_how_to_score_it(tmp_path: Path) -> None:
    write_run(tmp_path / "run", 100.0)
    words = page_of(tmp_path / "run").words
    assert "Not known yet" in words
    assert f"coord evaluate ego={tmp_path / 'run'} partners=human_proxy layout=cramped_room" in words
    assert "rollout/return" in words
    assert "Could not be read" not in words


@pytest.mark.parametrize("left_out", ["eval", "games", "pool", "sp", "summary.json", "pool/crossplay.json"])
def test_each_piece_may_be_missing(demo: Path, left_out: str) -> None:
    (demo / left_out).rename(demo.parent / "elsewhere")
    assert "How it was made" in page_of(demo).words


def test_a_pool_without_a_matrix_says_how_to_get_one(demo: Path) -> None:
    assert "coord crossplay" not in page_of(demo).words
    (demo / "pool/crossplay.json").unlink()
    assert f"coord crossplay {demo / 'pool'} and then coord report" in page_of(demo).words


def test_without_a_named_ego_the_best_is_the_headline(demo: Path) -> None:
    (demo / "summary.json").unlink()
    words = page_of(demo).words
    assert "fcp earns 125.0 points per game [122.0, 128.0]" in words
    assert "That is" not in words  # nothing says which one is the baseline


def test_argmax_scores_do_not_replace_sampled_ones(demo: Path) -> None:
    argmax = evaluation("fcp", {"human_proxy": (10.0, 20.0)}) | {"stochastic": False}
    write_json(demo / "eval/a_first_by_name.json", argmax)
    words = page_of(demo).words
    assert "FCP earns 125.0 points" in words
    assert "argmax" in words


def test_other_rules_show_no_published_figures(demo: Path) -> None:
    write_json(demo / "eval/fcp.json", evaluation("fcp", {"human_proxy": (120.0, 130.0)}, rules="overcooked-ai"))
    words = page_of(demo).words
    assert "PECAN Lou et al." not in words
    assert "about 6.2 soups" not in words  # soups differ in value there


def test_what_cannot_be_read_is_named(demo: Path) -> None:
    (demo / "eval/broken.json").write_text('{"rows": [')
    write_json(demo / "eval/wrong.json", evaluation("x", {"y": (1.0, 2.0)}) | {"rows": [{"ego": "x"}]})
    write_json(demo / "eval/nan.json", json.loads(json.dumps(evaluation("x", {"y": (float("nan"), 2.0)}))))
    write_json(demo / "pool/xp.json", {"members": ["a"], "seat_returns": [[1.0, 2.0]]})
    write_json(demo / "games/short.json", {"joint_actions": [[7, 0]], "agents": ["a", "b"]})
    words = page_of(demo).words
    for name in ("eval/broken.json", "eval/wrong.json", "eval/nan.json", "pool/xp.json", "games/short.json"):
        assert f"Could not be read: {name}" in words
    assert "FCP earns 125.0 points" in words


def test_nothing_to_report_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to report"):
        build_report(tmp_path)
    with pytest.raises(UserError, match="no run folder"):
        build_report(tmp_path / "nowhere")


def test_hostile_names_stay_text(demo: Path) -> None:
    plain_tags = page_of(demo).tags
    nasty = "</script><script>alert(1)</script><img src=x onerror=alert(2)>'\"&{{7*7}}"
    write_json(demo / "eval/fcp_pool.json", evaluation(nasty, {nasty: (1.0, 2.0)}, seed=nasty))
    write_json(demo / "summary.json", {"title": nasty, "ego": "fcp", "baseline": "sp"})
    for file in (demo / "games").iterdir():
        save_game(game((nasty, nasty)), file)
    matrix = json.loads((demo / "pool/crossplay.json").read_text())
    write_json(demo / "pool/crossplay.json", matrix | {"members": [nasty, "b", "c", nasty + "2"]})
    (demo / "fcp/command.txt").write_text(nasty)
    (demo / "fcp/config.yaml").write_text(nasty)
    (demo / "fcp/metrics.jsonl").write_text(json.dumps({"step": 1, f"train/{nasty}": 1.0}))
    write_json(demo / "fcp/env.json", {nasty: nasty})
    page = page_of(demo)
    assert len(page.all("script")) == sum(tag == "script" for tag, _ in plain_tags)
    assert not page.all("img")
    assert not [key for _, attrs in page.tags for key in attrs if key.startswith("on")]
    assert page.words.count("alert(1)") >= 9
    assert "{{7*7}}" in page.words


# --- parts


def test_intervals_combine_by_hand() -> None:
    parts = [Interval(10.0, 7.0, 14.0), Interval(20.0, 16.0, 23.0)]
    assert combine(parts) == pytest.approx((15.0, 15.0 - 5.0 / 2, 15.0 + 5.0 / 2))  # hypot(3, 4), hypot(4, 3)
    assert combine(parts[:1]) == pytest.approx(parts[0])
    low, high = 10.0 - np.hypot(4.0, 4.0), 10.0 + np.hypot(3.0, 3.0)
    assert difference(parts[1], parts[0]) == pytest.approx((10.0, low, high))


def test_labels_are_short_and_never_shared() -> None:
    names = ["runs/a/fcp/ckpt/final.safetensors", "runs/b/fcp", "pool#s0-mid", "human_proxy"]
    label = AgentNames(names, {"pool#s0-mid": "mid"})
    assert label("runs/a/fcp/ckpt/final.safetensors") == "fcp"
    assert label("runs/b/fcp") == "runs/b/fcp"
    assert label("pool#s0-mid") == "mid"
    assert label("human_proxy") == "human_proxy"


def test_a_resumed_run_keeps_the_later_of_repeated_steps(tmp_path: Path) -> None:
    lines = [{"step": 2, "train/lr": 0.5}, {"step": 1, "train/lr": 1.0}, {"step": 2, "train/lr": 0.25}]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    curve = read_folder(tmp_path).runs[0].curves["train/lr"]
    assert curve.x.tolist() == [1.0, 2.0]
    assert curve.values.tolist() == [1.0, 0.25]


def test_a_replay_shows_every_tick() -> None:
    film = replay(game())
    ticks = film["ticks"]
    assert film["size"] == [5, 4]
    assert len(ticks) == len(one_soup()) + 1
    assert [tick[0] for tick in ticks[-2:]] == [0.0, 20.0]
    assert ticks[0][2][0][:2] == [1, 2]  # seat 0 starts there
    assert ticks[0][3] == []
    clocks = [thing[3] for tick in ticks for thing in tick[3] if thing[:2] == [2, 0]]
    cooking = [clock for clock in clocks if clock >= 0]
    assert cooking == list(range(cooking[0], 0, -1))  # counts down tick by tick
    assert cooking[0] in (19, 20)


def test_a_replay_that_earns_something_else_is_refused(demo: Path) -> None:
    with pytest.raises(ValueError, match="earns 20 points, the recording says 40"):
        replay(game(total=40.0))
    save_game(game(("fcp", "human_proxy"), total=40.0), demo / "games/0.json")
    page = page_of(demo)
    assert "games/0.json: not shown, its replay earns 20 points" in page.words
    assert len(page.all("canvas")) == 2


def test_a_game_on_a_kitchen_that_changed_since_uses_its_own_grid() -> None:
    film = replay(Game.from_json(game().to_json() | {"layout": "no_longer_there"}))
    assert film["size"] == [5, 4]


def test_recorded_matches_replay_to_their_returns(tmp_path: Path) -> None:
    layout = load_layout("cramped_room")
    where = MatchRules(layout=layout, horizon=60)
    agents = [RandomAgent(), StayAgent()]
    matches = both_seats(0, [1])
    games = play_matches(where, agents, matches, episodes=2, seed=5, record=True, max_kitchens=3)
    assert games.joint_acts is not None
    assert games.joint_acts.shape == (2, 2, 60, 2)
    for i, match in enumerate(matches):
        assert (games.joint_acts[i, :, :, 1 - match.ego_seat] == STAY).all()
        for k in range(2):
            recorded = game(total=float(games.returns[i, k]), joint_actions=games.joint_acts[i, k].tolist())
            save_game(recorded, tmp_path / "game.json")
            assert Game.from_json(json.loads((tmp_path / "game.json").read_text())) == recorded
            assert replay(recorded)["ticks"][-1][0] == games.returns[i, k]
    again = play_matches(where, agents, matches, episodes=2, seed=5)
    assert again.joint_acts is None
    np.testing.assert_array_equal(again.returns, games.returns)


def test_documents_of_the_other_commands_are_read(tmp_path: Path) -> None:
    where = MatchRules(layout=load_layout("cramped_room"), horizon=40)
    agents = [RandomAgent(), StayAgent()]
    document = score([agents[0]], agents, ScoreRequest(where=where, episodes=9))
    write_json(tmp_path / "score.json", document)
    cards = [{"id": str(i), "method": "sp", "seed": i, "member": 0, "checkpoint": "final"} for i in range(2)]
    write_json(tmp_path / "crossplay.json", cross_play(where, agents, cards, episodes=2))
    folder = read_folder(tmp_path)
    assert folder.problems == []
    (read,), (matrix,) = folder.evaluations, folder.crossplays
    assert read.overall == (document["summary"]["mean_return"], *document["summary"]["ci95"])
    assert len(read.rows) == 4
    counts = play_matches(where, agents, both_seats(0, [0, 1]), episodes=9).events[3, :, :, EVENTS.index("movement")]
    half = 1.96 * counts.std(axis=0, ddof=1) / 3.0
    ego, partner = read.rows[3].events["movement"]  # the ego sits in seat 1
    assert ego == pytest.approx((counts[:, 1].mean(), counts[:, 1].mean() - half[1], counts[:, 1].mean() + half[1]))
    assert half[1] > 0.1
    assert partner == (0.0, 0.0, 0.0)  # it stays
    assert matrix.members == ["random", "stay"]
    assert matrix.bounds.shape == (2, 2, 2)
    assert matrix.gap is not None
    page_of(tmp_path)


def test_the_sprite_sheet_is_one_small_picture() -> None:
    sheet = sprite_sheet()
    assert sheet["uri"].startswith("data:image/png;base64,")
    assert len(sheet["uri"]) < 30_000


def test_the_command_writes_the_page(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", str(demo)]) == 0
    assert capsys.readouterr().out.strip() == str(demo / "report.html")
    assert cli.main(["report", str(demo), f"out={demo / 'other.html'}"]) == 0
    assert (demo / "other.html").stat().st_size > 50_000
    assert cli.main(["report"]) == 2
    assert cli.main(["report", str(demo / "nowhere")]) == 2
    assert "error: no run folder at" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("pattern", "text", "reason"),
    [
        ("env.json", '"x"', "env.json is no mapping"),
        ("manifest.json", '{"members": [{"name": "a"}]}', "a member without its id"),
        ("manifest.json", '{"members": ["a"]}', "a member without its id"),
    ],
)
def test_a_file_of_another_form_is_named_and_the_page_written(pattern: str, text: str, reason: str, demo: Path) -> None:
    next(demo.rglob(pattern)).write_text(text)
    assert any(reason in problem for problem in read_folder(demo).problems)
    assert build_report(demo, None).is_file()


def test_rows_that_count_an_event_for_other_roles_are_named(demo: Path) -> None:
    for path in demo.rglob("*.json"):
        score = json.loads(path.read_text())
        if isinstance(score, dict) and any(row.get("events") for row in score.get("rows", [])):
            score["rows"][0]["events"] = {name: {"ego": 1.0} for name in score["rows"][0]["events"]}
            path.write_text(json.dumps(score))
            break
    assert any("for other roles in other rows" in problem for problem in read_folder(demo).problems)
    assert build_report(demo, None).is_file()


def test_a_folder_of_everything_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coord.evaluation.run_folder.MOST_ENTRIES", 5)
    (tmp_path / "tb").mkdir()
    for number in range(9):
        (tmp_path / "tb" / str(number)).touch()  # folders that are skipped do not count
    (tmp_path / "deep").mkdir()
    for number in range(4):
        (tmp_path / "deep" / f"{number}.txt").touch()
    with pytest.raises(UserError, match="nothing to report"):
        read_folder(tmp_path)
    (tmp_path / "deep" / "one more.txt").touch()
    with pytest.raises(UserError, match="holds more than 5 files: name the folder of a run"):
        read_folder(tmp_path)
