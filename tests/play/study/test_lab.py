"""A lab with several computers: codes, stations, merging, old files, comprehension, and what a report tells of it."""

from __future__ import annotations

import csv
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from coord.errors import UserError
from coord.preference.labels.store import Answer, LabelStore
from coord.run.cli import main
from play.game.record import ATTEMPTS, Store
from play.study.merging import balance, merge
from play.study.run import Station, StudyRun, WrongAnswer, find, load_study, withdraw
from play.study.study_page import write_report
from play.study.study_report import make_report
from tests.play.helpers import ScriptSeat, Session, run_session
from tests.play.labelling.helpers import make_store
from tests.play.study.test_run import SMALL, do_step, finish, study_file

CHECKED = SMALL.replace(
    "after: [end]",
    "after: [end]\ncomprehension: [rules]",
).replace(
    "questionnaires:",
    "questionnaires:\n  rules:\n"
    '    - {id: onions, kind: choice, text: "How many onions?", options: [two, three], expect: three}\n'
    '    - {id: points, kind: likert, text: "How many soups?", points: 5, expect: "2"}',
)


@pytest.fixture
def store(tmp_path: Path):
    with closing(Store(tmp_path / "games.sqlite")) as one:
        yield one


# -- numbers and codes -------------------------------------------------------------------------------------------------


def test_number_code_and_completion_code_all_withdraw(tmp_path: Path, store: Store) -> None:
    study = load_study(study_file(tmp_path))
    people = [StudyRun.enrol(study, store, code=code) for code in ("P-01", "P-02", "")]
    words = ["p-01", people[1]._steps[-1].code.lower(), f" {people[2].participant} "]
    assert [find(store, word) for word in words] == [one.participant for one in people]
    for word in words:
        assert withdraw(store, word)["participants"] == 1
    with pytest.raises(UserError, match="no participant 'p-01'"):
        find(store, "p-01")


@pytest.mark.parametrize("code", ["two words", "x" * 41, "p-1234abcd", "a;b"])
def test_codes_that_are_none(tmp_path: Path, store: Store, code: str) -> None:
    with pytest.raises(UserError, match="is no participant code"):
        StudyRun.enrol(load_study(study_file(tmp_path)), store, code=code)


def test_a_code_is_given_once(tmp_path: Path, store: Store) -> None:
    study = load_study(study_file(tmp_path))
    StudyRun.enrol(study, store, code="P1")
    with pytest.raises(UserError, match="'p1' is taken"):
        StudyRun.enrol(study, store, code="p1")
    assert StudyRun.resume(study, store, "p1").slot == 0


def test_the_last_page_and_the_tables_tell_both(tmp_path: Path, store: Store) -> None:
    study = load_study(study_file(tmp_path))
    last = finish(StudyRun.enrol(study, store, code="P7", station=Station(2, 3)), store).step
    early = StudyRun.enrol(study, store)
    early.consent(True)
    write_report(make_report(study, store), tmp_path / "out")
    rows = list(csv.DictReader((tmp_path / "out" / "participants.csv").open()))
    told = {row["participant"]: (row["code"], row["station"], row["completion_code"]) for row in rows}
    assert told == {last.participant: ("P7", "2", last.code), early.participant: ("", "1", "")}


# -- files of before ---------------------------------------------------------------------------------------------------


def aged(file: Path) -> None:
    """Make a recordings file what version 0.1.0 left."""
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(
            "ALTER TABLE participants DROP COLUMN code; ALTER TABLE participants DROP COLUMN station;"
            "DROP TABLE attempts;"
        )


def test_a_file_of_before_is_brought_up_to_date_and_goes_on(tmp_path: Path) -> None:
    study, file = load_study(study_file(tmp_path)), tmp_path / "old.sqlite"
    with closing(Store(file)) as store:
        run = StudyRun.enrol(study, store)
        for _ in range(3):
            do_step(run, store)
        step = run.step
    aged(file)
    with closing(Store(file)) as store:
        again = StudyRun.resume(study, store, run.participant)
        assert again.step == step
        finish(again, store)
        assert StudyRun.enrol(study, store, code="new", station=Station(2, 2)).slot == 1
        (person,) = make_report(study, store).participants
        assert (person["code"], person["station"], person["completion_code"]) == ("", 1, again.step.code)
    with closing(Store(file)) as store:  # twice is once
        columns = [row[1] for row in store.connection.execute("PRAGMA table_info(participants)")]
    assert columns.count("station") == columns.count("code") == 1


def test_a_file_of_before_that_nobody_may_change_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, file = load_study(study_file(tmp_path)), tmp_path / "old.sqlite"
    with closing(Store(file)) as store:
        run = finish(StudyRun.enrol(study, store), store)
        store.connection.execute("PRAGMA journal_mode = DELETE")
    aged(file)
    monkeypatch.setattr("play.game.record.can_write", lambda path: False)
    with closing(Store(file, writes=False)) as store:
        assert store.is_read_only
        assert make_report(study, store).participants[0]["completion_code"] == run.step.code
        assert not store.connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'attempts'").fetchall()
    assert "attempts" in ATTEMPTS


# -- comprehension -----------------------------------------------------------------------------------------------------


def test_it_goes_on_once_everything_is_understood(tmp_path: Path, store: Store) -> None:
    text = CHECKED.replace("failed_checks: 2", "failed_checks: 0, comprehension_attempts: 2")
    study = load_study(study_file(tmp_path, text))
    slow, quick = (StudyRun.enrol(study, store) for _ in range(2))
    right = {"onions": "three", "points": 2}
    for run, wrong in ((slow, [{"onions": "two", "points": 2}, {"onions": "three", "points": 1}]), (quick, [])):
        run.consent(True)
        assert run.step.kind == "comprehension"
        with pytest.raises(WrongAnswer, match="How many onions") as caught:
            run.submit({"points": 2}, 0.0, 1.0)
        assert caught.value.question == "onions"
        for answers in wrong:
            (mistaken,) = run.submit(answers, 0.0, 1.0)
            assert answers[mistaken.id] != right[mistaken.id]
        run = StudyRun.resume(study, store, run.participant)  # the attempts outlive a crash
        assert run.submit(right, 0.0, 1.0) == ()
        assert run.step.kind == "game"
    report = make_report(study, store)
    told = {one["participant"]: (one["comprehension_attempts"], one["excluded"]) for one in report.participants}
    assert told[slow.participant] == (3, "needed 3 attempts at a comprehension check")
    assert told[quick.participant] == (1, "")
    withdraw(store, slow.participant)
    assert store.connection.execute("SELECT count(*) FROM attempts").fetchone() == (0,)


def test_a_comprehension_check_needs_right_answers(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="comprehension\\[0\\]: asks for comprehension, so each question"):
        load_study(study_file(tmp_path, CHECKED.replace(', expect: "2"', "")))


# -- the file and its mistakes -----------------------------------------------------------------------------------------


def test_check_lists_every_mistake_in_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = SMALL.replace("tutorial: false", "tutorial: maybe").replace("ticks: 12", "ticks: many")
    text = text.replace("[opinion]", "[opinions]").replace("greedy, ", "gredy, ").replace("tick_hz", "tik_hz")
    path = study_file(tmp_path, text)
    assert main(["study", "check", str(path)]) == 2
    *lines, last = capsys.readouterr().err.strip().splitlines()
    assert last == f"error: {path}: 5 mistakes, listed above"
    fields = ["tutorial", *(f"blocks[0].{name}" for name in ("partners[0]", "ticks", "tik_hz", "after_game[0]"))]
    assert [next(field for field in fields if f": {field}: " in line) for line in lines] == fields
    with pytest.raises(UserError, match=r"tutorial: .*\(the first of 5 mistakes: coord study check lists them\)"):
        load_study(path)


def test_questionnaires_may_be_absent(tmp_path: Path, store: Store) -> None:
    text = "study: 1\ntitle: T\nconsent: C\nblocks:\n  - {name: b, layouts: [cramped_room], partners: [stay]}\n"
    study = load_study(study_file(tmp_path, text))
    assert study.questionnaires == {}
    assert load_study(study_file(tmp_path, text + "questionnaires:\n")).questionnaires == {}
    assert [step.kind for step in StudyRun.enrol(study, store)._steps] == ["consent", "tutorial", "game", "done"]


def test_partners_have_names(tmp_path: Path, store: Store) -> None:
    for name in ("fcp", "other/sp", "sp"):
        (tmp_path / name).mkdir(parents=True)
    refs = [str(tmp_path / name) for name in ("fcp", "other/sp", "sp")]
    text = SMALL.replace("[greedy, stay, random]", str(["greedy", *refs]))
    study = load_study(study_file(tmp_path, text + f"partner_names: {{greedy: The cook, {refs[1]}: Self-play}}\n"))
    assert [study.partner_name(ref) for ref in study.partners] == ["The cook", "fcp", "Self-play", refs[2]]
    with pytest.raises(UserError, match=r"partner_names.gredy: unknown partner 'gredy'; did you mean 'greedy'"):
        load_study(study_file(tmp_path, text + "partner_names: {gredy: x}\n"))


def test_a_break_with_a_clock_does_not_say_when_you_like(tmp_path: Path, store: Store) -> None:
    for seconds, said in ((20, "until the clock has run down"), (0, "when you like")):
        text = SMALL.replace("ticks: 12", f"ticks: 12\n    break_every: 1\n    break_s: {seconds}")
        run = StudyRun.enrol(load_study(study_file(tmp_path, text)), store)
        (rest,) = {step.text for step in run._steps if step.kind == "break"}
        assert said in rest


# -- the report --------------------------------------------------------------------------------------------------------


def test_games_that_were_broken_off_are_told_and_do_not_count(tmp_path: Path, store: Store) -> None:
    study = load_study(study_file(tmp_path))
    run = StudyRun.enrol(study, store)
    run.consent(True)
    recorder = store.recorder(participant=run.participant, study_round=0)
    seats = [ScriptSeat(), ScriptSeat(kind="agent")]
    session = Session("cramped_room", seats, ticks=400, tick_hz=10, recorder=recorder)
    session.close(run_session(session, ticks=39))
    finish(run, store)
    report = make_report(study, store)
    assert [(row["round"], row["ticks_played"], row["outcome"]) for row in report.interrupted] == [(0, 39, "quit")]
    assert len(report.games) == 3
    page = write_report(report, tmp_path / "out")[0].read_text()
    assert "3 games, 1 broken off after 39 ticks in all" in page
    assert "<td>39</td><td>400</td>" in page


def test_one_person_has_no_interval(tmp_path: Path, store: Store) -> None:
    study = load_study(study_file(tmp_path))
    finish(StudyRun.enrol(study, store), store)
    report = make_report(study, store)
    rows = [*report.scores, *report.differences, *report.ratings, *report.order]
    assert {(row["low"], row["high"]) for row in rows} == {(None, None)}
    page = write_report(report, tmp_path / "out")[0].read_text()
    assert "one person" in page
    assert "None" not in page.replace("None.", "")
    assert "percentile bootstrap" in page.partition("<h2>Method</h2>")[2]
    assert ",,\n" in (tmp_path / "out" / "differences.csv").read_text()


# -- several computers -------------------------------------------------------------------------------------------------


def lab(folder: Path, people: list[int], *, share: bool = True, code: str = "") -> tuple[list[Path], list[str]]:
    """Files of computers with that many people each, and their ids."""
    study, files, ids = load_study(study_file(folder)), [], []
    for number, count in enumerate(people, 1):
        place = folder / f"pc{number}"
        place.mkdir()
        files.append(place / "games.sqlite")
        with closing(Store(files[-1])) as store:
            for _ in range(count):
                station = Station(number, len(people)) if share else Station(number, 9)
                run = StudyRun.enrol(study, store, station=station if share else Station(), code=code)
                for _ in range(3):
                    do_step(run, store)
                ids.append(run.participant)
    return files, ids


def test_two_computers_make_one_balanced_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files, ids = lab(tmp_path, [3, 3])
    target = tmp_path / "all.sqlite"
    words = [f"sources=[{','.join(map(str, files))}]", f"data={target}"]
    assert main(["study", "merge", str(tmp_path / "study.yaml"), *words]) == 0
    out = capsys.readouterr().out
    assert "6 participants, 6 games" in out
    assert "6 participants, by station: 1: 3, 2: 3" in out
    assert "  2   2   2   seats 3/3" in out
    assert "NOT BALANCED" not in out
    assert "uneven" not in out
    study = load_study(tmp_path / "study.yaml")
    with closing(Store(target)) as store:
        report = make_report(study, store)
        assert {one["participant"] for one in report.participants} == set(ids)
        assert [len(store.load(header).rew) for header in store.games()] == [12] * 6
        finish(StudyRun.resume(study, store, ids[-1]), store)
    assert not list(tmp_path.glob(".*part*"))
    assert main(["study", "merge", str(tmp_path / "study.yaml"), *words]) == 2
    assert "exists" in capsys.readouterr().err


def test_computers_that_shared_no_orders_are_told(tmp_path: Path) -> None:
    files, _ = lab(tmp_path, [2, 2], share=False)
    study = load_study(tmp_path / "study.yaml")
    merge(study, files, tmp_path / "all.sqlite")
    with closing(Store(tmp_path / "all.sqlite")) as store:
        lines = balance(study, store)
    assert "NOT BALANCED: 2 of the orders were handed out more than once (slots 0, 1)" in lines[1]
    assert any(line.endswith("uneven") for line in lines)


def test_what_cannot_be_merged_leaves_nothing(tmp_path: Path) -> None:
    (first, second), _ = lab(tmp_path, [1, 1], code="P1")
    study, target = load_study(tmp_path / "study.yaml"), tmp_path / "all.sqlite"
    (tmp_path / "copy").mkdir()
    copy = tmp_path / "copy" / "games.sqlite"
    copy.write_bytes(first.read_bytes())
    for sources, message in (
        ([first], "at least two"),
        ([first, first], "named twice"),
        ([first, tmp_path / "none.sqlite"], "no recordings file"),
        ([first, copy], "is in another of the files as well"),
        ([first, second], "participant codes that are in two of the files: p1"),
    ):
        with pytest.raises(UserError, match=message):
            merge(study, sources, target)
        assert not target.exists()
    assert not list(tmp_path.glob(".*part*"))


def test_answers_about_moments_come_along(tmp_path: Path) -> None:
    files, ids = lab(tmp_path, [1, 1])
    for file, who in zip(files, ids, strict=True):
        with closing(make_store(file.parent / "labels.sqlite", 2)) as labels:
            (query, _) = [record.id for record in labels.queries(labels.runs()[0], 0)]
            for name in (who, "somebody else"):
                labels.add_answer(Answer(query=query, annotator=name, target=1.0, note=name))
    merged = merge(load_study(tmp_path / "study.yaml"), files, tmp_path / "all.sqlite")
    assert merged.moments == 2
    with closing(LabelStore(tmp_path / "labels.sqlite", create=False)) as labels:
        assert [(row["annotator"], row["number"], row["note"]) for row in labels.answers()] == [
            (ids[0], 0, ids[0]),
            (ids[1], 1, ids[1]),
        ]


def test_stations_outside_the_lab() -> None:
    with pytest.raises(UserError, match="station=3: must be from 1 to stations=2"):
        Station(3, 2)
