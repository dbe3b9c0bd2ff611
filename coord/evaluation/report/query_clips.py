"""Queries as short side-by-side clips, with the answers that were given: played again from the recorded episodes.

A run folder of `coord prefer` holds what was asked and answered (`labels.sqlite`) and, as seeds and actions, the
episodes that the segments were cut from (`episodes/`). Playing an episode again must arrive at the observation that
the query holds, or its clip is left out.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from coord.control import EpisodeRecord
from coord.errors import UserError
from coord.evaluation.report.preference_runs import MethodRuns, PreferenceRun
from coord.preference.labels import episodes
from coord.preference.labels.feedback import RUN_NAME, STORE_FILE
from coord.preference.labels.store import LabelStore, QueryRecord
from coord.preference.tasks import films
from coord.preference.tasks.config import KITCHENS

SIZE = 168  # pixels of each side of a clip
MAX_FRAMES = 50  # longer segments are shown in larger steps
FRAME_MS, TICK_MS = 50, 150  # per frame; a kitchen's tick is a whole action
GAP = 6  # white pixels between the sides
QUALITY = 55  # of WebP: a clip of 50 frames takes about 150 kB


@dataclass(frozen=True)
class Verdict:
    """What one annotator said."""

    text: str
    side: int | None  # 0 left, 1 right; None: neither
    annotator: str
    unsafe: str  # sides marked as unsafe, in words


@dataclass(frozen=True)
class Clip:
    """One query: an animated picture and a still one of its first frames, as data URIs, and what was said."""

    learner: MethodRuns
    run: PreferenceRun
    record: QueryRecord
    uri: str
    still: str
    verdicts: list[Verdict]  # empty: nobody has answered yet
    returns: tuple[float, float]  # true return of each segment
    steps: int  # shown of each segment

    @property
    def sides(self) -> set[int | None]:
        """Which sides were called better."""
        return {verdict.side for verdict in self.verdicts}

    @property
    def contradicts(self) -> bool:
        """Whether an answer prefers the segment of the smaller true return."""
        left, right = self.returns
        better = None if left == right else int(right > left)
        return better is not None and 1 - better in self.sides


class _Asked(NamedTuple):
    """The queries of one run."""

    learner: MethodRuns
    run: PreferenceRun
    folder: Path
    records: list[QueryRecord]
    answers: Mapping[tuple[int, int], list[Verdict]]  # by (member, number)


def clips(learners: Sequence[MethodRuns], top: Path, count: int) -> tuple[list[Clip], list[str]]:
    """Up to `count` queries spread over sessions and learners, and a line for whatever could not be shown.

    Args:
        learners: of one task.
        top: the folder that the runs' paths start from.
    """
    notes: list[str] = []
    env = learners[0].runs[0].env
    runs = [(one, one.runs[0]) for one in learners if one.learns_reward]
    without = [run.run.path for _, run in runs if not (top / run.run.path / STORE_FILE).is_file()]
    if without:
        notes.append(f"no clips of queries: {STORE_FILE} is missing in {', '.join(without)}")
    asked = [_read(one, run, top, notes) for one, run in runs if run.run.path not in without]
    asked = [one for one in asked if one.records]
    if not asked:
        return [], notes
    try:
        films.check(env)
    except UserError as error:
        return [], [*notes, f"no clips of queries: {error}"]
    found: list[Clip] = []
    for place in range(count):
        clip = _clip_at(asked, place, count, found, notes)
        if clip is not None:
            found.append(clip)
    return sorted(found, key=lambda clip: clip.record.session), list(dict.fromkeys(notes))


def _read(learner: MethodRuns, run: PreferenceRun, top: Path, notes: list[str]) -> _Asked:
    """The run's queries and answers; none, and a note, where they cannot be read."""
    folder = top / run.run.path
    try:
        with closing(LabelStore(folder / STORE_FILE, create=False, writes=False)) as store:
            records = [record for m in range(run.members) for record in store.queries(RUN_NAME, m)]
            return _Asked(learner, run, folder, records, _standing(store.answers(RUN_NAME)))
    except UserError as error:
        notes.append(f"no clips of queries: {error}")
        return _Asked(learner, run, folder, [], {})


def _standing(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[int, int], list[Verdict]]:
    """Each annotator's last word on each query, unless it was withdrawn."""
    last: dict[tuple[int, int, str], Mapping[str, Any]] = {}
    for row in sorted(rows, key=lambda row: int(row["revision"])):
        last[row["member"], row["number"], row["annotator"]] = row
    found: dict[tuple[int, int], list[Verdict]] = {}
    for (member, number, _), row in last.items():
        if row["kind"] != "withdrawn":
            found.setdefault((member, number), []).append(_verdict(row))
    return found


def _verdict(row: Mapping[str, Any]) -> Verdict:
    """An answer in words; `target` is the probability that the second segment, shown right, is better."""
    unsafe = " and ".join(side for side in ("left", "right") if row[f"unsafe_{_ORDER[side]}"])
    if row["kind"] == "skip":
        return Verdict("skipped", None, row["annotator"], unsafe)
    target = float(row["target"])
    if target == 0.5:
        return Verdict("equal", None, row["annotator"], unsafe)
    side = int(target > 0.5)
    sure = "" if target in (0.0, 1.0) else f" ({max(target, 1 - target):.0%} sure)"
    return Verdict(f"{('left', 'right')[side]} better{sure}", side, row["annotator"], unsafe)


_ORDER = {"left": "first", "right": "second"}


# ------------------------------------------------------------------------------------------------- choice


def _clip_at(asked: Sequence[_Asked], place: int, count: int, shown: Sequence[Clip], notes: list[str]) -> Clip | None:
    """The clip at a place in the row: runs take turns, and sessions rise from the first to the last."""
    one = asked[place % len(asked)]
    sessions = sorted({record.session for record in one.records})
    session = sessions[round(place * (len(sessions) - 1) / max(count - 1, 1))]
    try:
        recorded = episodes.load(one.folder, session)
    except UserError as error:
        notes.append(f"a query is not shown: {error}")
        return None
    seen = {(clip.run.run.path, clip.record.id) for clip in shown}
    known = {verdict.text for clip in shown for verdict in clip.verdicts}
    open_ = [
        record
        for record in one.records
        if record.session == session
        and (one.run.run.path, record.id) not in seen
        and all((record.member, episode) in recorded for episode in record.episode)
    ]

    def novelty(record: QueryRecord) -> tuple[bool, int]:
        texts = {verdict.text for verdict in one.answers.get((record.member, record.number), [])}
        return texts <= known, (record.number - place) % len(one.records)

    for record in sorted(open_, key=novelty)[:1]:
        return _made(one, record, recorded, notes)
    return None


def _made(
    one: _Asked, record: QueryRecord, recorded: Mapping[tuple[int, int], EpisodeRecord], notes: list[str]
) -> Clip | None:
    """The clip of one query; None, and a note, where it cannot be played again."""
    where = f"query {record.number} of member {record.member} in {one.run.run.path}"
    with closing(LabelStore(one.folder / STORE_FILE, create=False, writes=False)) as store:
        query = store.segments([record.id])
    length = record.length - 2 * record.margin
    query = query.centre(length)
    try:
        sides = [
            films.frames_of_segment(
                {"task": one.run.env} | record.provenance,
                recorded[record.member, record.episode[side]],
                int(query.start[0, side]),
                length,
                SIZE,
                expected=query.obs[0, side, 0],
            )[:: math.ceil(length / MAX_FRAMES)]
            for side in range(2)
        ]
    except (UserError, RuntimeError) as error:
        notes.append(f"{where} is not shown: {error}")
        return None
    left, right = (float(total) for total in query.rew[0].sum(axis=1))
    verdicts = one.answers.get((record.member, record.number), [])
    pictures = _pictures(sides, TICK_MS if one.run.env == KITCHENS else FRAME_MS)
    return Clip(one.learner, one.run, record, *pictures, verdicts, (left, right), length)


def _pictures(sides: Sequence[NDArray[np.uint8]], frame_ms: int) -> tuple[str, str]:
    """Animated and still WebP of two films [T, H, W, 3] side by side, as data URIs; frame_ms: time per frame."""
    left, right = sides
    gap = np.full((*left.shape[:2], GAP, 3), 255, np.uint8)
    film = [Image.fromarray(frame) for frame in np.concatenate([left, gap, right], axis=2)]
    moving, still = io.BytesIO(), io.BytesIO()
    film[0].save(
        moving, "WEBP", save_all=True, append_images=film[1:], duration=frame_ms, loop=0, quality=QUALITY, method=4
    )
    film[0].save(still, "WEBP", quality=QUALITY)
    uris = [base64.b64encode(buffer.getvalue()).decode("ascii") for buffer in (moving, still)]
    return f"data:image/webp;base64,{uris[0]}", f"data:image/webp;base64,{uris[1]}"
