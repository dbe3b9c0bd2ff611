"""`coord scoreboard run`: trains what is missing, plays what is missing, goes on after whatever stopped it.

Nothing is kept in memory between calls: a training is done when its folder holds its agents, a cell when its file says
that it was played by these agents under these settings. Several processes may work on one scoreboard; each training is
done by the first that needs it while the others wait.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from coord import checkpoint
from coord.agents import files
from coord.agents.files import HELD_OUT_ID, MANIFEST
from coord.algos.bc import has_human_games
from coord.errors import UserError, unknown
from coord.evaluation import scoreboard
from coord.evaluation.agents import files_of
from coord.evaluation.scoreboard import PROTOCOLS, GameSettings, MethodEntry
from coord.overcooked import layout_names, load_layout
from populations.board.recipes import (
    BP_LAYOUTS,
    RECIPES,
    REFERENCES,
    Budget,
    TrainingPlan,
    TrainingStep,
    check_same,
    find_recipe,
    plan,
    pool_step,
    training_facts,
)
from populations.board.work import PlanWorker

if TYPE_CHECKING:
    from populations.board.config import ScoreboardConfig

LAYOUT_MARK = "{layout}"  # stands for the layout in the references of `extra` and `bp`


class PlannedEntry(NamedTuple):
    """An entry on a layout before anything is trained."""

    name: str
    layout: str
    plan: TrainingPlan
    human_data: bool


@dataclass
class BenchmarkRunner:
    """Everything that a scoreboard asks for; `run` does what of it is missing."""

    cfg: ScoreboardConfig
    say: Callable[[str], None] = print
    work: PlanWorker = field(init=False)

    def __post_init__(self) -> None:
        cfg = self.cfg
        self.out = Path(cfg.out)
        self.work = PlanWorker(self.out, cfg.threads, self.say)
        self.settings = GameSettings(
            rules=cfg.rules,
            horizon=cfg.horizon,
            episodes=cfg.episodes,
            pair_episodes=cfg.pair_episodes,
            seed=cfg.seed,
        )
        self.budget = budget_of(cfg)
        self.extra = parse_extra(cfg.extra)
        self.methods = chosen_methods(cfg.methods)
        for protocol in cfg.protocols:
            if protocol not in PROTOCOLS:
                raise unknown("protocol", protocol, PROTOCOLS)
        for reference in cfg.references:
            if reference not in REFERENCES:
                raise unknown("reference", reference, REFERENCES)
        self.layouts = list(dict.fromkeys(map(layout_name, cfg.layouts)))
        self._check_human_games()
        self.bp_steps = {} if cfg.bp else self._bp_steps()
        if cfg.bp and not any(map(self._given_bp, self.layouts)):
            raise UserError(
                f"bp={cfg.bp}: no pool of behaviour-preferring partners for {', '.join(self.layouts)} there"
            )
        self.board = [[self._entry(name, layout) for name in self._names()] for layout in self.layouts]
        for step in {step.folder: step for row in self.board for one in row for step in one.plan.steps}.values():
            check_same(step)
        for step in self.bp_steps.values():
            check_same(step)

    def _names(self) -> list[str]:
        return list(dict.fromkeys([*self.methods, *self.extra, *self.cfg.references]))

    def _check_human_games(self) -> None:
        for layout in self.layouts:
            if "A" in self.cfg.protocols and not has_human_games(load_layout(layout)):
                raise UserError(f"protocol A needs human games, and there are none on '{layout}': say protocols=C")

    def _bp_steps(self) -> dict[str, TrainingStep]:
        """The pools of protocol B that are to be trained: where it is asked for, else none."""
        asked = [name for name in self.layouts if "B" in self.cfg.protocols and name in BP_LAYOUTS]
        if "B" in self.cfg.protocols and not asked:
            raise UserError(
                f"protocol B is played on {' and '.join(BP_LAYOUTS)}; for other layouts make partners with "
                f"coord population method=bp, and say bp=<folder>"
            )
        return {layout: pool_step("bp", layout, self.budget) for layout in asked}

    def _entry(self, name: str, layout: str) -> PlannedEntry:
        if name in self.extra:
            ref = self.extra[name].replace(LAYOUT_MARK, layout)
            return PlannedEntry(name, layout, TrainingPlan((), lambda: (ref,)), False)
        return PlannedEntry(name, layout, plan(name, layout, self.budget), find_recipe(name).human_data)

    # ------------------------------------------------------------------------------------------- doing it

    def run(self) -> None:
        """Layout by layout: each method's training, then its games with the proxy; cross-play when all are there."""
        for number, (layout, entries) in enumerate(zip(self.layouts, self.board, strict=True), start=1):
            self.work.tell(f"{layout}, layout {number} of {len(self.layouts)}: {len(entries)} entries")
            partners = self.work.attempt(f"bp on {layout}", partial(self._bp_pool, layout))
            if partners is None and not (self._plays("A") or self._plays("C")):
                continue  # nothing is played here, so nothing is trained
            ready = []
            for entry in entries:
                who = self.work.attempt(f"{entry.name} on {layout}", partial(self._method_entry, entry))
                if who is not None:
                    ready.append(who)
                    self._score(who, partners)
            self._cross(sorted((who for who in ready if who.method not in REFERENCES), key=lambda who: who.method))

    def _method_entry(self, entry: PlannedEntry) -> MethodEntry:
        """Trains what is missing; who then contends."""
        for step in entry.plan.steps:
            self.work.train(entry.name, step)
        refs = entry.plan.refs()
        human = entry.human_data or any(
            files.read_agent(p).card.human_data for ref in refs for p in files_of(ref)
        )
        training = {
            "runs": [training_facts(step) for step in entry.plan.steps],
            "note": (RECIPES | REFERENCES)[entry.name].note if entry.name not in self.extra else "given with extra=",
        }
        return MethodEntry(
            method=entry.name,
            layout=entry.layout,
            refs=refs,
            human_data=human,
            training=checkpoint.portable(training),
        )

    def _bp_pool(self, layout: str) -> str | None:
        """The partners of protocol B on a layout: those given, those asked for, or those that are there anyway."""
        if self.cfg.bp:
            return self._given_bp(layout)
        if layout in self.bp_steps:
            self.work.train("protocol B", self.bp_steps[layout])
        folder = pool_step("bp", layout, self.budget).folder
        is_wanted = not self.cfg.protocols or "B" in self.cfg.protocols
        return folder.as_posix() if is_wanted and (folder / MANIFEST).is_file() else None

    def _given_bp(self, layout: str) -> str | None:
        """The pool that `bp` names for a layout, if it names one."""
        assert self.cfg.bp is not None
        folder = Path(self.cfg.bp.replace(LAYOUT_MARK, layout))
        if LAYOUT_MARK in self.cfg.bp and not folder.exists():
            return None
        entries = files.read_manifest(folder)
        return folder.as_posix() if entries[0]["layout_hash"] == load_layout(layout).hash else None

    def _plays(self, protocol: str) -> bool:
        return not self.cfg.protocols or protocol in self.cfg.protocols

    def _score(self, who: MethodEntry, partners: str | None) -> None:
        """Protocols A and B for one entry."""
        if self._plays("A") and has_human_games(load_layout(who.layout)):
            play = partial(scoreboard.play_with_proxy, self.out, who, self.settings)
            played = self.work.attempt(f"A: {who.method} on {who.layout}", play)
            self._tell("A", who.layout, who.method, played)
        if partners is not None:
            play = partial(scoreboard.play_with_preferring, self.out, who, self.settings, partners)
            played = self.work.attempt(f"B: {who.method} on {who.layout}", play)
            self._tell("B", who.layout, who.method, played)

    def _cross(self, ready: Sequence[MethodEntry]) -> None:
        """Protocol C for all pairs; the names of a pair are in alphabetical order, whoever came later."""
        pairs = [(one, two) for i, one in enumerate(ready) for two in ready[i:]] if self._plays("C") else []
        for one, two in pairs:
            name = f"{one.method}--{two.method}"
            play = partial(scoreboard.play_across, self.out, one, two, self.settings)
            played = self.work.attempt(f"C: {name} on {one.layout}", play)
            self._tell("C", one.layout, name, played)

    def _tell(self, protocol: str, layout: str, name: str, played: bool | None) -> None:
        """One line for a cell that was played now."""
        if played:
            cell = scoreboard.read_cell(scoreboard.cell_path(self.out, protocol, layout, name))
            assert cell is not None
            self.work.tell(f"{protocol} {layout} {name}: {headline(cell)}")


def headline(cell: Mapping[str, Any]) -> str:
    """The figure of a cell as text."""
    if cell["protocol"] == "A":
        summary = cell["variants"]["standard"]["summary"]
        return f"{summary['mean_return']:.1f} [{summary['ci95'][0]:.1f}, {summary['ci95'][1]:.1f}] with {HELD_OUT_ID}"
    if cell["protocol"] == "B":
        low, high = cell["br_prox_ci95"]
        return f"BR-Prox {cell['br_prox']:.3f} [{low:.3f}, {high:.3f}]"
    return f"{cell['mean_return']:.1f}"


def budget_of(cfg: ScoreboardConfig) -> Budget:
    """The part of the configuration that trainings depend on."""
    return Budget(
        out=Path(cfg.out),
        seeds=cfg.seeds,
        seed=cfg.seed,
        rules=cfg.rules,
        horizon=cfg.horizon,
        threads=cfg.threads,
        preset=cfg.preset,
        pool_words=cfg.pool_words,
        ego_words=cfg.ego_words,
    )


def layout_name(name: str) -> str:
    """The present name of a layout, which also names folders.

    Raises:
        UserError: an unknown layout, or one that has no name of its own.
    """
    home = load_layout(name)
    if home.name not in layout_names():
        raise UserError(f"layouts={name}: the scoreboard takes layouts by name, such as {BP_LAYOUTS[0]}")
    return home.name


def chosen_methods(names: Sequence[str]) -> list[str]:
    """The methods asked for; all recipes if none are.

    Raises:
        UserError: an unknown one.
    """
    for name in names:
        find_recipe(name)
    return list(names or RECIPES)


def parse_extra(words: Sequence[str]) -> dict[str, str]:
    """`["mine=runs/ego"]` -> {"mine": "runs/ego"}.

    Raises:
        UserError: not of that form, or a name that is taken.
    """
    out: dict[str, str] = {}
    for word in words:
        name, is_there, ref = word.partition("=")
        if not (is_there and name and ref):
            raise UserError(f"extra={word}: expected name=path, for example extra=mine=runs/{LAYOUT_MARK}/egos")
        if name in RECIPES or name in REFERENCES or name in out or "--" in name or "/" in name:
            raise UserError(f"extra={word}: the name '{name}' is taken or not fit for a file; choose another")
        out[name] = ref
    return out
