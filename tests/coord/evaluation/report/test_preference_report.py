"""The report on learning from preferences: figures worked by hand, what may be missing, clips of queries."""

from __future__ import annotations

import base64
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image, ImageSequence

from coord.control import EpisodeRecord, frames, frames_of
from coord.control.tasks import build
from coord.errors import UserError
from coord.evaluation.report import query_clips
from coord.evaluation.report.build import build_report
from coord.evaluation.report.preference_runs import TaskComparison, by_labels, compare, estimate, share, split
from coord.evaluation.run_folder import read_folder
from coord.preference.labels import episodes
from coord.preference.labels.feedback import RUN_NAME, STORE_FILE
from coord.preference.labels.segments import Queries
from coord.preference.labels.store import Answer, LabelStore
from coord.run import cli
from tests.html_page import Page

STEPS = 5000  # budget of the runs below, one evaluation every 1000
TASK = "pendulum_swingup"


def write_run(folder: Path, method: str, returns: list[list[float]], **config: Any) -> Path:
    """A run folder with evaluations at 1000, 2000, ...: returns [T][M]. `form` goes into the method's settings."""
    members = len(returns[0])
    form = {"form": config.pop("form")} if "form" in config else {}
    settings = {"env": "walker_walk", "preset": "fast", "seed": 0, "members": members, "labels": 20}
    settings |= {"session_labels": 10, "total_steps": STEPS, "algo": {"name": "sac", "lr": 0.001}}
    settings |= {"method": {"name": method, **form}, **config}
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    (folder / "command.txt").write_text(f"coord prefer env=walker_walk method={method} eval_every=1000\n")
    (folder / "env.json").write_text(json.dumps({"libraries": {"mujoco": "3.9"}}))
    rows = [_row(1000 * (i + 1), method, each) for i, each in enumerate(returns)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def _row(step: int, method: str, returns: list[float]) -> dict[str, Any]:
    row: dict[str, Any] = {"step": step, "time/elapsed_s": 0.06 * step}
    told = {"eval/return": returns, "eval/success": [0.0] * len(returns)}
    if method != "sac":
        asked = min(20.0, 10.0 * (step // 2000))  # 0, 10, 10, 20, 20
        told |= {"reward/asked": [asked] * len(returns), "reward/labels": [max(asked - 2, 0.0)] * len(returns)}
        told |= {"reward/accuracy": [0.75] * len(returns)}
    for key, values in told.items():
        row[key] = float(np.mean(values))
        row |= {f"{key}/{m}": value for m, value in enumerate(values)} if len(values) > 1 else {}
    return row


def level(*finals: float) -> list[list[float]]:
    """Evaluations that stay at the same value."""
    return [list(finals)] * 5


def comparisons(folder: Path) -> list[TaskComparison]:
    return compare(split(read_folder(folder).runs, [])[0])


def page_of(folder: Path) -> Page:
    return Page(build_report(folder, clips=0))


# --- figures


def test_the_table_holds_what_a_hand_calculation_gives(tmp_path: Path) -> None:
    write_run(tmp_path / "sac", "sac", level(200.0, 200.0))
    # Last three evaluations: seed 0 (10 + 40 + 70) / 3 = 40, seed 1 (100 + 80 + 60) / 3 = 80.
    write_run(tmp_path / "p", "pebble", [[9.0, 9.0], [500.0, 9.0], [10.0, 100.0], [40.0, 80.0], [70.0, 60.0]])
    page = page_of(tmp_path)
    # Resampling two seeds reaches both with a chance of a quarter each; SAC's seeds are equal.
    row = "pebble 60.0 [40.0, 80.0] 60.0 [40.0, 80.0] 0.30 [0.20, 0.40] 2 18 of 20 5000 5.0"
    assert row in page.words
    assert "sac 200.0 [200.0, 200.0] 200.0 [200.0, 200.0] – 2 true reward 5000 5.0" in page.words
    assert "pebble reaches 0.30 [0.20, 0.40] of the return of SAC on the true reward, from 18 labels" in page.words
    assert "Changed from the preset for all: eval_every=1000" in page.words


def test_curves_are_interquartile_means_of_seeds(tmp_path: Path) -> None:
    write_run(tmp_path / "p", "pebble", [*level(0.0, 0.0, 0.0, 0.0)[:4], [1.0, 2.0, 4.0, 100.0]])
    (comparison,) = comparisons(tmp_path)
    steps, values = comparison.learners[0].table("eval/return")
    assert steps.tolist() == [1000, 2000, 3000, 4000, 5000]
    assert values[-1].tolist() == [1.0, 2.0, 4.0, 100.0]
    labels = [str(one["aria-label"]) for one in page_of(tmp_path).all("svg") if one.get("class") == "chart"]
    assert "Return, walker_walk, preset fast: pebble ends at 3" in labels  # 1 and 100 are cut
    assert "Accuracy on its labels, walker_walk, preset fast: pebble ends at 0.75" in labels


def test_returns_by_labels_are_the_last_evaluations_with_so_many(tmp_path: Path) -> None:
    write_run(tmp_path / "p", "pebble", [[1.0], [2.0], [4.0], [8.0], [16.0]])
    asked, returns = by_labels(comparisons(tmp_path)[0].learners[0])
    assert asked.tolist() == [0, 10, 20]
    assert returns[:, 0].tolist() == [1.0, 3.0, 12.0]


def test_shares_and_estimates_of_few_seeds() -> None:
    two, one = np.array([40.0, 80.0]), np.array([60.0])
    assert estimate(two) == (60.0, 40.0, 80.0)
    assert estimate(one)[0] == 60.0
    assert math.isnan(estimate(one)[1])
    assert estimate(np.zeros(0)) is None
    assert share(two, np.array([100.0, 200.0])) == pytest.approx((0.4, 0.2, 0.8))  # 40 / 200 ... 80 / 100
    single = share(one, two)
    assert single is not None
    assert single.mean == 1.0
    assert math.isnan(single.low)
    assert share(two, np.array([0.0, 0.0])) is None


# --- what is compared with what


def test_forms_of_a_method_are_told_apart_and_seeds_of_one_form_put_together(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "mrn", level(1.0, 2.0), form="released", seed=0)
    write_run(tmp_path / "b", "mrn", level(3.0), form="released", seed=1, threads=2, out="x")
    write_run(tmp_path / "c", "mrn", level(4.0), form="corrected")
    (comparison,) = comparisons(tmp_path)
    assert [(one.name, one.short) for one in comparison.learners] == [
        ("mrn: form=released", "mrn released"),
        ("mrn: form=corrected", "mrn corrected"),
    ]
    assert comparison.learners[0].final("eval/return").tolist() == [1.0, 2.0, 3.0]


def test_a_repeated_seed_counts_once_and_an_unfinished_run_is_named(tmp_path: Path) -> None:
    write_run(tmp_path / "all", "pebble", level(1.0, 2.0, 3.0))
    write_run(tmp_path / "again", "pebble", level(1.0))
    write_run(tmp_path / "short", "surf", level(1.0)[:3])
    (comparison,) = comparisons(tmp_path)
    assert [len(one.final("eval/return")) for one in comparison.learners] == [3, 1]
    assert comparison.problems == [
        "again: left out, its seeds are among those of all",
        "short: unfinished, 3000 of 5000 steps per seed",
    ]
    words = page_of(tmp_path).words
    assert "3000 of 5000" in words
    assert "again: left out" in words


def test_presets_and_tasks_stand_apart_and_are_named_in_every_heading(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "pebble", level(1.0))
    write_run(tmp_path / "b", "pebble", level(2.0), preset="published")
    write_run(tmp_path / "c", "pebble", level(3.0), env="button-press")
    assert [one.where for one in comparisons(tmp_path)] == [
        "button-press, preset fast",
        "walker_walk, preset fast",
        "walker_walk, preset published",
    ]
    words = page_of(tmp_path).words
    assert words.count("preset fast: smaller networks and budgets than published, for CPUs") == 2
    for heading in ("Learning curves", "Final scores", "How good the learned reward is"):
        assert f"{heading}: walker_walk, preset fast" in words
    assert "coord prefer env=button-press method=sac preset=fast members=1" in words  # what would add a baseline


def test_sac_of_the_same_budget_is_the_baseline(tmp_path: Path) -> None:
    write_run(tmp_path / "long", "sac", level(100.0), total_steps=9000)
    write_run(tmp_path / "same", "sac", level(50.0), labels=70)  # SAC reads no labels
    write_run(tmp_path / "p", "pebble", level(25.0))
    *_, pebble = comparisons(tmp_path)[0].learners
    baseline = comparisons(tmp_path)[0].baseline(pebble)
    assert baseline is not None
    assert baseline.runs[0].run.path == "same"


# --- what is missing or broken


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    write_run(tmp_path / "good", "pebble", level(1.0))
    new = write_run(tmp_path / "new", "pebble", level(1.0))
    (new / "metrics.jsonl").write_text('{"step": 10, "train/loss": 1.0}\n{"step": 20, "eval/ret')
    (write_run(tmp_path / "torn", "pebble", level(1.0)) / "env.json").write_text("{")
    words = Page(build_report(tmp_path)).words
    assert "new: not compared, it has not been evaluated yet" in words
    assert "Could not be read: torn/metrics.jsonl" in words
    assert f"no clips of queries: {STORE_FILE} is missing in good" in words
    assert "pebble 1.0 1.0" not in words  # a single seed has no interval, and the page says so
    assert "pebble 1.0 [not given]" in words


def test_a_run_without_its_config_still_has_curves(tmp_path: Path) -> None:
    (write_run(tmp_path / "p", "pebble", level(1.0)) / "config.yaml").unlink()
    words = page_of(tmp_path).words
    assert "eval/return" in words
    assert "Final scores" not in words


def test_a_damaged_label_store_is_one_line(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "p", "pebble", level(1.0))
    (folder / STORE_FILE).write_text("no database at all, just some text that goes on" * 40)
    assert "no clips of queries" in (words := Page(build_report(tmp_path)).words)
    assert "is not a label store, or it is damaged" in words


def test_kitchens_and_preferences_share_a_page(tmp_path: Path) -> None:
    write_run(tmp_path / "p", "pebble", level(1.0))
    (tmp_path / "ppo").mkdir()
    (tmp_path / "ppo/metrics.jsonl").write_text(json.dumps({"step": 1, "rollout/return": 3.0}))
    words = page_of(tmp_path).words
    assert "How well does it play with people-like partners" in words
    assert "Final scores: walker_walk" in words
    assert "Zero-shot coordination" in words
    assert "Reward model" in words
    (tmp_path / "ppo/metrics.jsonl").unlink()
    words = page_of(tmp_path).words
    assert "people-like" not in words
    assert "Zero-shot coordination" not in words


def test_hostile_settings_stay_text(tmp_path: Path) -> None:
    nasty = "</script><img src=x onerror=alert(1)>{{7*7}}"
    write_run(tmp_path / "a", "mrn", level(1.0), form=nasty, env=nasty, preset=nasty)
    write_run(tmp_path / "b", nasty, level(1.0), form="x", env=nasty, preset=nasty)
    (tmp_path / "a/command.txt").write_text(f"coord prefer 'a={nasty}' unbalanced'")
    page = page_of(tmp_path)
    assert not page.all("img")
    assert "{{7*7}}" in page.words


def test_the_command_takes_the_number_of_clips(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "p", "pebble", level(1.0))
    assert cli.main(["report", str(tmp_path), "clips=0"]) == 0
    assert "no clips" not in (tmp_path / "report.html").read_text()
    assert cli.main(["report", str(tmp_path), "clips=-1"]) == 2
    assert "clips=-1: must be at least 0" in capsys.readouterr().err


# --- clips


LENGTH, MARGIN = 6, 1


def played(seed: int, steps: int = 40) -> tuple[EpisodeRecord, np.ndarray, np.ndarray]:
    """An episode of random actions, what was seen before each of them, and its rewards."""
    simulation = build(TASK)
    act = np.random.default_rng(seed).uniform(-1, 1, (steps, 1)).astype(np.float32)
    obs, rew = [simulation.reset(seed)], []
    for one in act:
        outcome = simulation.step(one)
        obs.append(outcome.obs)
        rew.append(outcome.rew)
    return EpisodeRecord(seed, act), np.stack(obs[:-1]), np.array(rew, np.float32)


def write_queries(folder: Path, targets: list[float]) -> None:
    """Two sessions of queries about two episodes, one query per target."""
    shown = [played(seed) for seed in (3, 4)]
    starts = np.array([[2 + i, 20 - i] for i in range(len(targets))])
    cut = [[slice(start, start + LENGTH) for start in pair] for pair in starts]
    obs, rew = (
        np.stack([[shown[side][what][part[side]] for side in range(2)] for part in cut]).astype(np.float32)
        for what in (1, 2)
    )
    act = np.stack([[shown[side][0].act[part[side]] for side in range(2)] for part in cut])
    queries = Queries(obs, act, rew, np.tile([0, 1], (len(targets), 1)), starts)
    store = LabelStore(folder / STORE_FILE)
    half = len(targets) // 2
    for session, part in enumerate((slice(0, half), slice(half, None))):
        ids = store.add_queries(
            RUN_NAME, 0, queries.select(part), first_number=part.start or 0, session=session, margin=MARGIN
        )
        told = zip(ids, targets[part], strict=True)
        store.add_answers([Answer(query=i, annotator="teacher:oracle", target=t) for i, t in told])
        records = {(0, e): episodes.Played(one[0].seed, one[0].act) for e, one in enumerate(shown)}
        episodes.save(folder, session, records)
    store.close()


@pytest.fixture
def asked(tmp_path: Path) -> Path:
    try:
        frames.backend()
    except UserError as error:
        pytest.skip(str(error))
    folder = write_run(tmp_path / "runs/p", "pebble", level(1.0), env=TASK)
    write_queries(folder, [0.0, 1.0, 0.5, math.nan])
    return tmp_path / "runs"


def film(uri: str) -> np.ndarray:
    """Frames [T, H, W, 3] of a data URI."""
    kind, _, data = uri.partition(",")
    assert kind == "data:image/webp;base64"
    picture = Image.open(io.BytesIO(base64.b64decode(data)))
    return np.stack([np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(picture)])


def test_clips_show_the_judged_steps_and_every_kind_of_answer(asked: Path) -> None:
    clips, notes = query_clips.clips(comparisons(asked)[0].learners, asked, 4)
    assert notes == []
    assert [clip.record.session for clip in clips] == [0, 0, 1, 1]
    assert {clip.verdicts[0].text for clip in clips} == {"left better", "right better", "equal", "skipped"}
    clip = next(clip for clip in clips if clip.record.number == 0)
    judged = LENGTH - 2 * MARGIN
    frames_shown, size = film(clip.uri), query_clips.SIZE
    assert frames_shown.shape == (judged, size, 2 * size + query_clips.GAP, 3)
    sides = (frames_shown[:, :, :size], frames_shown[:, :, -size:])
    for side, seed, start in zip(sides, (3, 4), (2, 20), strict=True):
        record, _, rew = played(seed)
        expected = frames_of(TASK, record, start + MARGIN, judged, size)
        assert np.abs(side.astype(int) - expected).mean() < 4  # WebP loses a little
        total = rew[start + MARGIN : start + MARGIN + judged].sum()
        assert total == pytest.approx(clip.returns[0 if seed == 3 else 1])


def test_a_page_with_clips_loads_nothing(asked: Path) -> None:
    page = Page(build_report(asked))
    images = page.all("img")
    assert len(images) == 4  # all there are
    assert all(str(one["src"]).startswith("data:image/webp;base64,") and one["alt"] for one in images)
    assert len(page.all("source")) == 4  # a still picture for those who do not want motion
    assert "http" not in page.source.replace("http-equiv", "")
    assert "left better, says teacher:oracle" in page.words
    assert "skipped, says teacher:oracle" in page.words
    targets = {str(one["href"])[1:] for one in page.all("a")}
    assert targets <= {str(attrs["id"]) for _, attrs in page.tags if "id" in attrs}


def test_an_answer_against_the_true_returns_is_marked(asked: Path) -> None:
    clips, _ = query_clips.clips(comparisons(asked)[0].learners, asked, 4)
    for clip in clips:
        left, right = clip.returns
        wrong = {"left better": left < right, "right better": right < left}.get(clip.verdicts[0].text, False)
        assert clip.contradicts == wrong


def test_changed_answers_count_by_their_last_word_and_withdrawn_ones_do_not(asked: Path) -> None:
    store = LabelStore(asked / "p" / STORE_FILE)
    ids = [record.id for record in store.queries(RUN_NAME, 0)]
    again = store.withdraw(ids[0], "teacher:oracle")
    store.add_answer(Answer(query=ids[0], annotator="teacher:oracle", target=0.9, revision=again, unsafe=(True, False)))
    store.withdraw(ids[1], "teacher:oracle")
    store.close()
    clips, _ = query_clips.clips(comparisons(asked)[0].learners, asked, 4)
    said = {clip.record.number: clip.verdicts for clip in clips}
    assert [(one.text, one.unsafe) for one in said[0]] == [("right better (90% sure)", "left")]
    assert said[1] == []
    assert "not answered yet" in Page(build_report(asked)).words


def test_missing_episodes_and_another_simulator_are_named(asked: Path) -> None:
    (asked / "p/episodes/session0.safetensors").unlink()
    records = {(0, e): episodes.Played(seed, played(seed)[0].act) for e, seed in enumerate((5, 6))}
    episodes.save(asked / "p", 1, records)  # other seeds: the same actions lead elsewhere
    clips, notes = query_clips.clips(comparisons(asked)[0].learners, asked, 4)
    assert clips == []
    assert any("session0.safetensors" in note for note in notes)
    assert any("played again, the episode goes another way" in note for note in notes)


def test_without_a_way_to_draw_the_page_says_what_to_install(asked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> str:
        raise UserError("cannot draw frames; apt-get install something")

    monkeypatch.setattr(frames, "backend", fails)
    words = Page(build_report(asked)).words
    assert "no clips of queries: cannot draw frames; apt-get install something" in words
    assert "Final scores" in words


def test_success_is_shown_where_a_task_can_succeed(tmp_path: Path) -> None:
    write_run(tmp_path / "p", "pebble", level(1.0), env="hammer")
    page = page_of(tmp_path)
    assert "Success Share of SAC" in page.words
    charts = [str(one["aria-label"]) for one in page.all("svg") if one.get("class") == "chart"]
    assert "Success, hammer, preset fast: pebble ends at 0" in charts
    write_run(tmp_path / "q/p", "pebble", level(1.0))
    assert "Success Share" not in page_of(tmp_path / "q").words
