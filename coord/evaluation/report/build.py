"""`coord report`: one static HTML page about a run, with everything inside it and no network.

Reads whatever `coord.evaluation.run_folder` finds, in this order of importance: how well the agent does with
people-like partners it never met, recorded games, the scores, cross-play, what each seat does, learning curves; then
what was learned from preferences (`coord.evaluation.report.preference_report`); and how it was made. What is missing
is left out, and the page says which command would add it.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from coord import __version__
from coord.evaluation.report import pages, preference_report, preference_runs
from coord.evaluation.report.curve_parts import config_value, curve_groups, machines_of, run_facts
from coord.evaluation.report.game_parts import shown_games
from coord.evaluation.report.glossary import KITCHEN_TERMS, PREFERENCE_TERMS
from coord.evaluation.report.replay import sprite_sheet
from coord.evaluation.report.score_parts import AgentNames, answer_of, event_panels, event_table, heat_map, scores_of
from coord.evaluation.run_folder import PROXY, RunFolder, TrainingRun, read_folder
from coord.files import atomic_write_text, check_place
from coord.overcooked.render import SEAT_HATS

FILE_NAME = "report.html"
HATS = tuple(zip(SEAT_HATS, ("#00669e", "#e08a1e", "#00a06b", "#8e4bb8"), strict=True))  # name and colour by seat


def build_report(
    path: str | Path,
    out: str | Path | None = None,
    *,
    meanings: Mapping[str, str] | None = None,
    clips: int = preference_report.CLIPS,
) -> Path:
    """Write the report on the folder `path` and return its file (default: `report.html` in that folder).

    Args:
        meanings: metric key -> what it means, for the captions of the learning curves.
        clips: queries of each task that are shown as clips; drawing one takes a few seconds.
    Raises: UserError where there is no folder, nothing in it to report on, or the file cannot be written.
    """
    folder = read_folder(path)
    target = Path(out) if out else folder.path / FILE_NAME
    check_place(target)
    atomic_write_text(target, render(folder, meanings or {}, clips))
    return target


def render(folder: RunFolder, meanings: Mapping[str, str], clips: int = preference_report.CLIPS) -> str:
    """The page as text."""
    facts = page(folder, meanings, clips)
    return pages.template("report.html").render(
        style=pages.inline("report.css"), script=pages.inline("report.js"), **facts
    )


def page(folder: RunFolder, meanings: Mapping[str, str], clips: int) -> dict[str, Any]:
    """Everything the template shows."""
    learned, others = preference_runs.split(folder.runs, folder.problems)
    has_games = bool(others or folder.evaluations or folder.crossplays or folder.pools or folder.games)
    label = agent_names(folder)
    scores = [score for evaluation in folder.evaluations for score in scores_of(evaluation, label)]
    games, pairs = shown_games(folder, label)
    setting = _setting(folder, others)
    topic = "Coordination" if has_games else "Preference learning"
    return {
        "title": str(folder.summary.get("title", f"{topic} report: {folder.path.resolve().name}")),
        "has_games": has_games,
        "policies": folder.policies,
        "preference": preference_report.sections(learned, folder.path, meanings, clips),
        "label": label,
        "setting": setting,
        "answer": answer_of(folder, scores, label, setting),
        "scores": scores,
        "crossplays": [heat_map(one, label) for one in folder.crossplays],
        "events": event_panels(scores, label, setting),
        "event_rows": event_table(scores),
        "charts": curve_groups(others, meanings),
        "pairs": pairs,
        "games": games,
        "sheet": sprite_sheet() if games else None,
        "runs": [run_facts(run) for run in folder.runs],
        "machines": machines_of(folder.runs),
        "pools": folder.pools,
        "problems": folder.problems,
        "hats": HATS,
        "terms": _terms(has_games, bool(learned)),
        "missing": missing_parts(folder, setting) if has_games else [],
        "made": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "version": __version__,
    }


def _terms(of_games: bool, of_preferences: bool) -> dict[str, dict[str, str]]:
    """Terms by heading."""
    groups = {"Kitchens": (of_games, KITCHEN_TERMS), "Learning from preferences": (of_preferences, PREFERENCE_TERMS)}
    return {heading: terms for heading, (is_needed, terms) in groups.items() if is_needed}


def agent_names(folder: RunFolder) -> AgentNames:
    names = [name for one in folder.evaluations for row in one.rows for name in (row.ego, row.partner)]
    names += [name for one in folder.evaluations for name in one.partner_names]
    names += [str(one.facts["ego"]) for one in folder.evaluations if one.facts.get("ego")]
    names += [name for one in folder.crossplays for name in one.members]
    names += [str(name) for game in folder.games for name in game.get("agents", [])]
    given = folder.summary.get("labels", {})
    return AgentNames(names, {PROXY: "human proxy", **(given if isinstance(given, dict) else {})})


def _setting(folder: RunFolder, runs: Sequence[TrainingRun]) -> dict[str, Any]:
    """Layout, rules and horizon of the first file that tells them."""
    sources = [one.facts for one in folder.evaluations] + [one.facts for one in folder.crossplays] + folder.games
    keys = ("layout", "rules", "horizon")
    setting = {key: next((source[key] for source in sources if key in source), None) for key in keys}
    for key in keys:  # a training run alone: its config, read line by line, for it may hold anything
        if setting[key] is None:
            setting[key] = next((value for run in runs if (value := config_value(run.config, key))), None)
    return setting


def missing_parts(folder: RunFolder, setting: Mapping[str, Any]) -> list[dict[str, str]]:
    """What the folder lacks, and the command that adds it."""
    place = folder.path.as_posix()
    layout = setting["layout"] or "cramped_room"
    hints = []
    if not any(one.with_proxy for one in folder.evaluations):
        command = f"coord evaluate ego={place} partners={PROXY} layout={layout} out={place}/eval/{PROXY}.json"
        hints.append({"what": "Scores with people-like partners", "command": command})
    if folder.pools and not folder.crossplays:
        pool = (folder.path / folder.pools[0]["source"]).parent.as_posix()
        hints.append({"what": "A cross-play matrix of the pool", "command": f"coord crossplay {pool}"})
    return hints
