"""What a participant of a study meets, and in which order: the games, and the steps around them.

Orders are rows of a Williams square: every game comes in every position equally often, and follows every other equally
often (Williams 1949, "Experimental designs balanced for the estimation of residual effects of treatments").
"""

from __future__ import annotations

import hashlib
import math
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from play.study.study_file import MUST, Block, Question, Study

NUM_SEATS = 2


@dataclass(frozen=True, kw_only=True)
class PlannedGame:
    """One game of a participant's plan. `label` is the blinded letter; show that, never `partner`."""

    round: int  # 0-based over the whole study
    block: str
    position: int  # 0-based within the block
    condition: int  # which of the block's conditions
    layout: str
    partner: str
    label: str
    seat: int  # of the participant
    ticks: int
    tick_hz: float
    rules: str
    stochastic: bool
    seed: int
    moments: bool = False  # whether moments of it may be compared afterwards


@dataclass(frozen=True, kw_only=True)
class StudyStep:
    """What the participant meets next.

    kind: "consent" (title, text), "text" (title, text), "questionnaire" (title, questions), "comprehension" (the same,
    shown until every answer is right), "tutorial" (`must_pass`), "game" (see `game`), "break" (title, text, seconds),
    "done" (title, text, participant, code).
    """

    kind: str
    title: str = ""
    text: str = ""
    questions: tuple[Question, ...] = ()
    seconds: float = 0.0
    game: PlannedGame | None = None
    round: int | None = None  # of the game a questionnaire asks about
    must_pass: bool = False  # tutorial: no phase can be left out
    participant: str = ""  # done: the number that withdrawal needs
    code: str = ""  # done: proof of having finished


def williams(n: int) -> list[list[int]]:
    """Rows of a Williams square of n conditions: n rows if n is even, else 2n (the square and its mirror image).

    Every n consecutive rows hold each condition once in each position; over all rows each condition directly follows
    each other one equally often.
    """
    zigzag = [(i + 1) // 2 if i % 2 else (n - i // 2) % n for i in range(n)]  # 0, 1, n-1, 2, n-2, ...
    square = [[(first + row) % n for first in zigzag] for row in range(n)]
    return square if n % 2 == 0 else square + [row[::-1] for row in square]


def plan_games(study: Study, participant: str, slot: int) -> tuple[list[PlannedGame], dict[str, str]]:
    """All games of a participant in their order, and the blinded letter of each partner.

    slot: 0, 1, 2, ... over the participants of a study; balanced orders, seats and blocks follow from it. All else
    that is random follows from the participant's id.
    """
    rng = np.random.default_rng(seed_of(study.sha256, participant))
    shuffled = rng.permutation(list(string.ascii_uppercase[: len(study.partners)]))
    letters = {partner: str(letter) for partner, letter in zip(study.partners, shuffled, strict=True)}
    block_rows = williams(len(study.blocks)) if study.blocks_order == "balanced" else [range(len(study.blocks))]
    games: list[PlannedGame] = []
    for number in block_rows[slot % len(block_rows)]:
        block = study.blocks[number]
        order = _order(block, slot, number, len(block_rows), rng)
        for position, condition in enumerate(order):
            layout, partner = block.conditions[condition]
            games.append(
                PlannedGame(
                    round=len(games),
                    block=block.name,
                    position=position,
                    condition=condition,
                    layout=layout,
                    partner=partner,
                    label=letters[partner],
                    seat=_seat(block, slot, condition, rng),
                    ticks=block.ticks,
                    tick_hz=block.tick_hz,
                    rules=block.rules,
                    stochastic=block.stochastic,
                    seed=int(rng.integers(2**31)),
                    moments=block.moments,
                )
            )
    return games, letters


def _order(block: Block, slot: int, number: int, num_block_rows: int, rng: np.random.Generator) -> Sequence[int]:
    """Order of a block's conditions.

    Each run of n participants gets the n rows of one Latin square, so that positions are balanced at every moment;
    where in the square a run starts, and which half of a mirrored square it gets, turns from cycle to cycle and from
    block to block, so that the order of one block is not tied to that of another or to the order of the blocks.
    """
    count = len(block.conditions)
    if block.order == "fixed":
        return range(count)
    if block.order == "random":
        return [int(condition) for condition in rng.permutation(count)]
    rows = williams(count)
    run, within = divmod(slot, count)
    cycle = slot // math.lcm(len(rows), num_block_rows)
    half = (run + cycle // count) % (len(rows) // count)
    return rows[half * count + (within + cycle + number) % count]


def _seat(block: Block, slot: int, condition: int, rng: np.random.Generator) -> int:
    if block.seat == "random":
        return int(rng.integers(NUM_SEATS))
    if block.seat != "alternate":
        return int(block.seat)
    # Per condition the seats alternate from participant to participant, and the pattern turns over after each
    # whole set of orders, so that a seat is not tied to an order.
    return (condition + slot + slot // len(williams(len(block.conditions)))) % NUM_SEATS


def seed_of(*parts: str) -> int:
    """A number that only follows from the parts, 0..2^64 - 1."""
    return int.from_bytes(hashlib.sha256("/".join(parts).encode()).digest()[:8], "big")


def plan_steps(study: Study, games: Sequence[PlannedGame], participant: str) -> list[StudyStep]:
    """The whole way of a participant."""
    steps = [StudyStep(kind="consent", title=study.title, text=study.consent)]
    if study.welcome:
        steps.append(StudyStep(kind="text", title=study.title, text=study.welcome))
    steps += _questionnaires(study, study.before)
    if study.tutorial:
        steps.append(StudyStep(kind="tutorial", title="Tutorial", must_pass=study.tutorial == MUST))
    for name in study.comprehension:
        questions = study.questionnaires[name]
        steps.append(StudyStep(kind="comprehension", title="Before you play", questions=questions))
    blocks = {block.name: block for block in study.blocks}
    for name in dict.fromkeys(game.block for game in games):
        steps += _block_steps(study, blocks[name], [game for game in games if game.block == name])
    steps += _questionnaires(study, study.after)
    code = completion_code(study.sha256, participant)
    done = StudyStep(kind="done", title="Thank you", text="You are done.", participant=participant, code=code)
    return [*steps, done]


def _block_steps(study: Study, block: Block, games: Sequence[PlannedGame]) -> Iterator[StudyStep]:
    text = "Have a rest until the clock has run down." if block.break_s else "Have a rest. Go on when you like."
    rest = StudyStep(kind="break", title="Break", text=text, seconds=block.break_s)
    if block.text:
        yield StudyStep(kind="text", title=block.name, text=block.text)
    for game in games:
        yield StudyStep(kind="game", title=f"Partner {game.label}", game=game, round=game.round)
        yield from _questionnaires(study, block.after_game, game)
        if block.break_every and (game.position + 1) % block.break_every == 0 and game is not games[-1]:
            yield rest
    yield from _questionnaires(study, block.after_block)
    if block.break_s and games[-1].block != study.blocks[-1].name:
        yield rest


def _questionnaires(study: Study, names: Sequence[str], game: PlannedGame | None = None) -> Iterator[StudyStep]:
    for name in names:
        title = "Questions" if game is None else f"About partner {game.label}"
        questions = study.questionnaires[name]
        yield StudyStep(kind="questionnaire", title=title, questions=questions, round=game.round if game else None)


def completion_code(study_hash: str, participant: str) -> str:
    """Proof of having finished the study whose file has that SHA-256, the same whenever it is asked for."""
    return f"{seed_of(study_hash, participant, 'done') % 16**8:08X}"
