"""Studies: balanced orders, nothing lost in a crash, everything of a person deleted, and reports that are right."""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from coord.errors import UserError
from coord.run.cli import main
from play.game.record import Store
from play.study.run import StudyRun, load_study, plan_games, unfinished, williams, withdraw
from play.study.study_page import write_report
from play.study.study_report import make_report
from tests.contracts.house import ROOT
from tests.play.helpers import play_still

EXAMPLE = ROOT / "configs" / "study" / "example.yaml"

SMALL = """
study: 1
title: A & B <test>
consent: I agree.
tutorial: false
questionnaires:
  opinion:
    - {id: fluent, kind: likert, text: "Fluent?", points: 5}
    - {id: check, kind: choice, text: Choose b, options: [a, b], expect: b}
  end:
    - {id: remarks, kind: text, text: "Remarks?", required: false}
after: [end]
blocks:
  - name: main
    layouts: [cramped_room]
    partners: [greedy, stay, random]
    ticks: 12
    tick_hz: 10
    after_game: [opinion]
exclude: {failed_checks: 2, unfinished: false}
"""

TWO_BLOCKS = """
study: 1
title: Two blocks
consent: I agree.
questionnaires: {}
blocks_order: balanced
blocks:
  - {name: odd, layouts: [cramped_room], partners: [greedy, stay, random]}
  - {name: even, layouts: [cramped_room, coordination_ring], partners: [greedy, bc_train]}
  - {name: single, layouts: [cramped_room], partners: [human_proxy]}
"""


def study_file(tmp_path: Path, text: str = SMALL) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    return path


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "games.sqlite")
    yield store
    store.close()


def play_game(run: StudyRun, store: Store) -> None:
    """Play the game of the current step to its end, and say so."""
    game = run.step.game
    session = play_still(
        store,
        layout=game.layout,
        ticks=game.ticks,
        participant=run.participant,
        study_round=game.round,
        seat=game.seat,
    )
    run.finish_game(session.game_id)


def do_step(run: StudyRun, store: Store, answers=None) -> None:
    """Do what the current step asks for."""
    kind = run.step.kind
    if kind == "consent":
        run.consent(True)
    elif kind == "questionnaire":
        run.submit({"fluent": 4, "check": "b", **(answers or {})}, 10.0, 12.5)
    elif kind == "game":
        play_game(run, store)
    else:
        run.proceed()


def finish(run: StudyRun, store: Store, answers=None) -> StudyRun:
    while run.step.kind != "done":
        do_step(run, store, answers)
    return run


# -- orders --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", range(1, 12))
def test_williams_squares_are_balanced_for_position_and_carry_over(n):
    rows = williams(n)
    assert len(rows) == (n if n % 2 == 0 else 2 * n)
    places = Counter((position, c) for row in rows for position, c in enumerate(row))
    assert set(places.values()) == {len(rows) // n}
    assert len(places) == n * n
    follows = Counter(pair for row in rows for pair in pairwise(row))
    assert len(follows) == n * (n - 1)
    assert len(set(follows.values())) <= 1


def test_williams_square_of_four_by_hand():
    assert williams(4) == [[0, 1, 3, 2], [1, 2, 0, 3], [2, 3, 1, 0], [3, 0, 2, 1]]


def test_two_hundred_participants_meet_everything_equally_often(tmp_path):
    """At every moment of recruiting: positions within 1 per condition and per block, seats within 1."""
    study = load_study(study_file(tmp_path, TWO_BLOCKS))
    positions: Counter = Counter()
    block_places: Counter = Counter()
    seats: Counter = Counter()
    blocks = {block.name: block for block in study.blocks}
    for slot in range(200):
        games, _ = plan_games(study, f"p-{slot}", slot)
        assert [game.round for game in games] == list(range(8))
        for place, name in enumerate(dict.fromkeys(game.block for game in games)):
            block_places[place, name] += 1
        for game in games:
            positions[game.block, game.position, game.condition] += 1
            seats[game.block, game.condition, game.seat] += 1
            assert (game.layout, game.partner) == blocks[game.block].conditions[game.condition]
        assert spread(block_places, [(place, name) for place in range(3) for name in blocks]) <= 1
        for name, block in blocks.items():
            count = len(block.conditions)
            assert spread(positions, [(name, p, c) for p in range(count) for c in range(count)]) <= 1
            for condition in range(count):
                assert spread(seats, [(name, condition, seat) for seat in (0, 1)]) <= 1


def spread(counts: Counter, keys: list) -> int:
    values = [counts[key] for key in keys]
    return max(values) - min(values)


def test_orders_of_two_blocks_do_not_go_together(tmp_path):
    """Every order of a block meets every order of the blocks."""
    study = load_study(study_file(tmp_path, TWO_BLOCKS))
    met = set()
    for slot in range(200):
        games, _ = plan_games(study, f"p-{slot}", slot)
        block_order = tuple(dict.fromkeys(game.block for game in games))
        met.add((block_order, tuple(game.condition for game in games if game.block == "odd")))
    assert len(met) == 6 * 6


def test_letters_are_blinded_anew_for_each_participant(tmp_path):
    study = load_study(study_file(tmp_path))
    plans = [plan_games(study, f"p-{slot}", slot) for slot in range(200)]
    for games, letters in plans:
        assert sorted(letters.values()) == ["A", "B", "C"]
        assert all(game.label == letters[game.partner] for game in games)
    greedy = Counter(letters["greedy"] for _, letters in plans)
    assert min(greedy.values()) > 40
    assert plan_games(study, "p-7", 7) == plans[7]  # the same whenever it is made


# -- simulated participants --------------------------------------------------------------------------------------


def test_two_hundred_participants_with_crashes(tmp_path, store):
    """Everybody drops out at a random step and resumes; all rows belong to somebody, and the report counts all."""
    study = load_study(study_file(tmp_path, SMALL.replace("ticks: 12", "ticks: 2")))
    rng = np.random.default_rng(0)
    for _ in range(200):
        run = StudyRun.enrol(study, store)
        for _ in range(int(rng.integers(0, 8))):
            do_step(run, store)
        step = run.step
        run = StudyRun.resume(study, store, run.participant)
        assert run.step == step  # nothing is asked twice
        finish(run, store)
    assert unfinished(study, store) == []
    report = make_report(study, store)
    assert len(report.participants) == 200
    assert [one["slot"] for one in report.participants] == list(range(200))
    assert len(report.games) == 600 == len({(game["participant"], game["round"]) for game in report.games})
    assert len(report.answers) == 200 * 3 * 2
    places = Counter((game["partner"], game["position"]) for game in report.games)
    assert spread(places, [(partner, place) for partner in study.partners for place in range(3)]) <= 1
    (orphans,) = store.connection.execute(
        "SELECT count(*) FROM games WHERE participant NOT IN (SELECT id FROM participants)"
    ).fetchone()
    assert orphans == 0
    assert {row["people"] for row in report.scores} == {200}


def test_a_crash_in_a_game_costs_that_game_only(tmp_path, store):
    study = load_study(study_file(tmp_path))
    run = StudyRun.enrol(study, store)
    run.consent(True)
    play_game(run, store)
    run.submit({"fluent": 2, "check": "b"}, 0.0, 1.0)
    before = run.step
    with store.transaction() as connection:  # a game that a crash cut off
        connection.execute(
            "INSERT INTO games SELECT 99, 'x', started_utc, ended_utc, '999999999:', layout, layout_hash, layout_json, "
            "rules, ticks, tick_hz, seed, start_state, start_hash, seats, versions, participant, 1, NULL, 0, 0 "
            "FROM games WHERE id = 1"
        )
    store.close()
    again = Store(store.path)
    assert len(again.recovered) == 1
    run = StudyRun.resume(study, again, run.participant)
    assert run.step == before
    assert run.step.game.round == 1
    with pytest.raises(UserError, match=r"game 99 is not round 1 of p-\w+, played to its end"):
        run.finish_game(99)
    finish(run, again)
    assert len(make_report(study, again).games) == 3
    again.close()


def test_a_crash_right_after_a_game_costs_nothing(tmp_path, store):
    study = load_study(study_file(tmp_path))
    run = StudyRun.enrol(study, store)
    run.consent(True)
    game = run.step.game
    play_still(store, layout="cramped_room", ticks=12, participant=run.participant, study_round=0, seat=game.seat)
    run = StudyRun.resume(study, store, run.participant)  # it was never told that the game ended
    assert (run.step.kind, run.step.round) == ("questionnaire", 0)


def test_the_way_through_the_example(tmp_path, store):
    study = load_study(EXAMPLE)
    run = StudyRun.enrol(study, store)
    kinds = [step.kind for step in run._steps]
    game, ask = "game", "questionnaire"
    assert kinds == [
        "consent", "text", ask, "tutorial", "text", game,
        "text", game, ask, game, ask, "break", game, ask, ask, ask, "done",
    ]  # fmt: skip
    assert run.progress == (0, 16)
    assert re.fullmatch(r"p-[0-9a-f]{8}", run.participant)
    last = run._steps[-1]
    assert re.fullmatch(r"[0-9A-F]{8}", last.code)
    assert last == StudyRun.resume(study, store, run.participant)._steps[-1]


# -- consent, answers, withdrawal ----------------------------------------------------------------------------------


def test_consent_is_kept_with_time_and_hash(tmp_path, store):
    study = load_study(study_file(tmp_path))
    run = StudyRun.enrol(study, store)
    with pytest.raises(ValueError, match="current step is a consent"):
        run.proceed()
    run.consent(True)
    row = store.connection.execute("SELECT consent_hash, consent_utc FROM participants").fetchone()
    assert row[0] == hashlib.sha256(b"I agree.").hexdigest()
    assert row[1].startswith("20")


def test_declining_keeps_nothing_and_frees_the_slot(tmp_path, store):
    study = load_study(study_file(tmp_path))
    run = StudyRun.enrol(study, store)
    run.consent(False)
    assert run.step.kind == "done"
    assert store.connection.execute("SELECT count(*) FROM participants").fetchone() == (0,)
    assert StudyRun.enrol(study, store).games[0].round == 0
    assert store.connection.execute("SELECT slot FROM participants").fetchall() == [(0,)]


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"check": "b"}, r'"Fluent\?" needs an answer'),
        ({"fluent": 6, "check": "b"}, r'"Fluent\?" 6 is not a number from 1 to 5'),
        ({"fluent": "5", "check": "b"}, r'"Fluent\?" .5. is not a number'),
        ({"fluent": 5, "check": "c"}, '"Choose b" .c. is not one of a, b'),
    ],
)
def test_bad_answers_are_refused_and_nothing_is_kept(tmp_path, store, answers, message):
    run = StudyRun.enrol(load_study(study_file(tmp_path)), store)
    run.consent(True)
    play_game(run, store)
    with pytest.raises(UserError, match=message):
        run.submit(answers, 0.0, 1.0)
    assert store.connection.execute("SELECT count(*) FROM answers").fetchone() == (0,)
    run.submit({"fluent": 5, "check": "a"}, 0.0, 1.0)  # a failed check is an answer


def test_withdrawing_leaves_no_byte(tmp_path, store):
    study = load_study(study_file(tmp_path))
    gone = finish(StudyRun.enrol(study, store), store, {"remarks": "my secret remark"})
    stays = finish(StudyRun.enrol(study, store), store, {"remarks": "a public remark"})
    counts = withdraw(store, gone.participant)
    assert counts == {"answers": 7, "games": 3, "participants": 1}
    for file in store.path.parent.glob("games.sqlite*"):
        data = file.read_bytes()
        assert gone.participant.encode() not in data
        assert b"my secret remark" not in data
    assert b"a public remark" in store.path.read_bytes()
    assert [one["participant"] for one in make_report(study, store).participants] == [stays.participant]
    with pytest.raises(UserError, match="no participant"):
        withdraw(store, gone.participant)
    StudyRun.enrol(study, store)
    slots = store.connection.execute("SELECT slot FROM participants ORDER BY slot").fetchall()
    assert slots == [(0,), (1,)]  # the free place in the balance was taken again


def test_a_changed_file_or_an_unknown_id_cannot_resume(tmp_path, store):
    study = load_study(study_file(tmp_path))
    run = StudyRun.enrol(study, store)
    assert unfinished(study, store) == [run.participant]
    changed = load_study(study_file(tmp_path, SMALL + "# a remark\n"))
    assert unfinished(changed, store) == []
    with pytest.raises(UserError, match="has changed since"):
        StudyRun.resume(changed, store, run.participant)
    with pytest.raises(UserError, match="no participant 'p-0'"):
        StudyRun.resume(study, store, "p-0")


# -- the report ----------------------------------------------------------------------------------------------------


def with_scores(store: Store, study, table: list[list[float]]) -> list[str]:
    """Participants whose games with (greedy, stay, random) have these scores; their ids."""
    people = []
    for scores in table:
        run = finish(StudyRun.enrol(study, store), store)
        people.append(run.participant)
        for game in run.games:
            score = scores[study.partners.index(game.partner)]
            with store.transaction() as connection:
                connection.execute(
                    "UPDATE games SET score = ? WHERE participant = ? AND study_round = ?",
                    (score, run.participant, game.round),
                )
    return people


def test_the_report_by_hand(tmp_path, store):
    study = load_study(study_file(tmp_path))
    with_scores(store, study, [[100, 0, 20], [120, 20, 20], [140, 10, 20]])
    report = make_report(study, store)
    scores = {row["partner"]: row for row in report.scores}
    assert {name: row["mean"] for name, row in scores.items()} == {"greedy": 120, "stay": 10, "random": 20}
    assert 100 <= scores["greedy"]["low"] < 120 < scores["greedy"]["high"] <= 140
    assert (scores["random"]["low"], scores["random"]["high"]) == (20, 20)
    gain = {(row["partner"], row["minus"]): row["mean"] for row in report.differences}
    gain |= {(b, a): -mean for (a, b), mean in gain.items()}
    assert gain["greedy", "stay"] == 110
    assert gain["greedy", "random"] == 100
    ratings = [row for row in report.ratings if row["question"] == "fluent"]
    assert [(row["mean"], row["n"]) for row in ratings] == [(4, 3)] * 3
    assert len(report.order) == 3
    assert sum(row["mean"] for row in report.order) == pytest.approx(150)


def test_the_order_effect_is_found_and_partners_are_not_taken_for_it(tmp_path, store):
    study = load_study(study_file(tmp_path))
    base = {"greedy": 100.0, "stay": 0.0, "random": 30.0}
    for number in range(7):  # not a whole set of orders: partners and rounds are not balanced
        run = finish(StudyRun.enrol(study, store), store)
        for game in run.games:
            score = base[game.partner] + 10 * number + 6 * game.round
            with store.transaction() as connection:
                where = (score, run.participant, game.round)
                connection.execute("UPDATE games SET score = ? WHERE participant = ? AND study_round = ?", where)
    slope = make_report(study, store).order_slope
    assert slope["mean"] == pytest.approx(6.0)
    assert (slope["low"], slope["high"]) == pytest.approx((6.0, 6.0))


def test_exclusions_follow_the_file(tmp_path, store):
    study = load_study(study_file(tmp_path, SMALL.replace("unfinished: false", "unfinished: true")))
    good = finish(StudyRun.enrol(study, store), store)
    careless = finish(StudyRun.enrol(study, store), store, {"check": "a"})
    early = StudyRun.enrol(study, store)
    early.consent(True)
    never = StudyRun.enrol(study, store)  # looked at the consent text only
    report = make_report(study, store)
    reasons = {one["participant"]: one["excluded"] for one in report.participants}
    assert reasons == {
        good.participant: "",
        careless.participant: "failed 3 attention checks",
        early.participant: "did not finish",
    }
    assert never.participant not in reasons
    assert {row["people"] for row in report.scores} == {1}


def test_people_who_never_move_can_be_excluded(tmp_path, store):
    study = load_study(study_file(tmp_path, SMALL.replace("unfinished: false", "idle_share: 0.99")))
    finish(StudyRun.enrol(study, store), store)
    (person,) = make_report(study, store).participants
    assert person["excluded"] == "idle in 100% of the ticks"


def test_the_written_report(tmp_path, store, capsys):
    path = study_file(tmp_path)
    study = load_study(path)
    run = finish(StudyRun.enrol(study, store), store, {"remarks": '<script>, "quoted"'})
    paths = write_report(make_report(study, store), tmp_path / "out")
    page = paths[0].read_text()
    assert "A &amp; B &lt;test&gt;" in page
    assert "<script" not in page
    assert "http" not in page.replace("http://www.w3.org", "")
    for title in ("Scores per partner", "Ratings", "Order effects", "Exclusions", "Method"):
        assert f"<h2>{title}</h2>" in page
    answers = list(csv.DictReader((tmp_path / "out" / "answers.csv").open()))
    assert [row["answer"] for row in answers if row["question"] == "remarks"] == ['<script>, "quoted"']
    assert {row["response_ms"] for row in answers} == {"2500.0"}
    codebook = list(csv.DictReader((tmp_path / "out" / "codebook.csv").open()))
    assert [row["question"] for row in codebook] == ["fluent", "check", "remarks"]
    data = f"data={store.path}"
    assert main(["study", "report", str(path), data, f"out={tmp_path / 'cli'}"]) == 0
    assert "1 people consented, 1 finished, 0 excluded; 3 games, 7 answers" in capsys.readouterr().out
    assert main(["study", "withdraw", f"participant={run.participant}", data]) == 0
    assert "3 games" in capsys.readouterr().out
    assert main(["study", "report", str(path), data]) == 2
    assert "nobody took part" in capsys.readouterr().err


# -- the file ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ticks: 12", "ticks: many", r"blocks\[0\].ticks: must be a whole number from 1 to 30000, not 'many'"),
        ("cramped_room", "cramped_rom", "did you mean 'cramped_room'"),
        ("cramped_room", "cramped_room_single", "has 1 seats, a study needs 2"),
        ("greedy", "gredy", "unknown partner 'gredy'; did you mean 'greedy'"),
        ("greedy", "runs/none.safetensors", "unknown partner 'runs/none.safetensors'"),
        ("[opinion]", "[opinions]", "unknown questionnaire 'opinions'; did you mean 'opinion'"),
        ("tick_hz: 10", "tik_hz: 10", "unknown field 'tik_hz'; did you mean 'tick_hz'"),
        ("study: 1", "study: 2", "needs 'study: 1'"),
        ("expect: b", "expect: c", "'c' is not one of a, b"),
        ("id: check", "id: fluent", "question id 'fluent' occurs twice"),
        ("kind: likert", "kind: lickert", "unknown kind of question 'lickert'; did you mean 'likert'"),
        ("consent: I agree.", "consent: ''", "consent: must be text"),
        ("tutorial: false", "tutorial: maybe", "must be true, false or must"),
        ("ticks: 12", "ticks: 12\n    ticks: 13", "is given twice"),
        ("[greedy, stay, random]", "[greedy, greedy]", "has the same entry twice"),
        ("[greedy, stay, random]", "greedy", "must be a list"),
        ("failed_checks: 2", "failed_checks: -1", "from 0 to 100"),
        ('text: "Fluent?"', "text: Fluent?", "not YAML: .* need quotes"),
        ("options: [a, b]", "options: [a]", "at least two options"),
    ],
)
def test_mistakes_name_line_and_field(tmp_path, old, new, message):
    line = SMALL[: SMALL.index(old)].count("\n") + 1 + new.count("\n")
    path = study_file(tmp_path, SMALL.replace(old, new, 1))
    with pytest.raises(UserError, match=message) as caught:
        load_study(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")


def test_an_empty_or_missing_file(tmp_path):
    with pytest.raises(UserError, match="must be a mapping"):
        load_study(study_file(tmp_path, ""))
    with pytest.raises(UserError, match=r"study.yaml:2: 'title' is missing"):
        load_study(study_file(tmp_path, SMALL.replace("title: A & B <test>\n", "")))
    with pytest.raises(UserError, match=r"cannot read .*none.yaml: No such file"):
        load_study(tmp_path / "none.yaml")


def test_check_shows_the_balance(tmp_path, capsys):
    quick = EXAMPLE.read_text().replace("human_proxy", "stay")  # nothing to be trained first
    assert main(["study", "check", str(study_file(tmp_path, quick))]) == 0
    out = capsys.readouterr().out
    assert "4 games" in out
    assert "  8   8   8   seats 12/12" in out
    assert main(["study", "check"]) == 2
    assert "needs a study file" in capsys.readouterr().err
