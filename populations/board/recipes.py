"""What each entry of the scoreboard is trained from: pools that methods share, and recipes that use them.

`RECIPES` is the list of entries. The words are budgets for two cores where those of configs/ are not meant for an
ego among many partners; `preset=` replaces them all by the budgets of the methods' authors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coord import seeding
from coord.agents.files import AGENT_FILE, MANIFEST, read_manifest
from coord.errors import UserError, at_least, unknown
from coord.run import config
from coord.run.logger import read_metrics


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How an entry comes about: `coord train method=<method> partners=<pools>`, all seeds side by side.

    Without `method` nobody is trained beside the pool: one pool per seed, of which the best member contends.
    """

    method: str = ""
    pools: tuple[str, ...] = ()  # keys of `POOLS`
    words: tuple[str, ...] = ()  # our budget, left out with preset=
    human_data: bool = False  # whether it learns from human games
    any_layout: bool = False  # one training serves every kitchen
    explores: bool = True  # whether the ego learns to cook among the members of its pools, by `EGO_BUDGETS`
    note: str = ""


# Many partners are many tasks: exploration and shaping must last.
MANY_PARTNERS = ("algo.total_steps=3000000", "algo.ent_horizon=2000000", "algo.shaping_horizon=3000000")
E3T = ("algo.total_steps=4000000", "algo.ent_horizon=2000000", "algo.shaping_horizon=2000000")  # published: 4.8e6

# layout -> further words for egos among the partners of a pool. Partners that know the long way around this kitchen
# spare an ego the exploration that self-play needs there: with its entropy bonus of .2 MEP's egos earned 17 in training
# after 3 M steps, with this one 33 after 1 M.
EGO_BUDGETS: dict[str, tuple[str, ...]] = {
    "counter_circuit_o_1order": (
        "algo.total_steps=5000000",
        "algo.ent_coef=0.05",
        "algo.ent_horizon=1000000",
        "algo.shaping_horizon=4000000",
    ),
}

# name -> words of `coord population method=<name>`
POOLS: dict[str, tuple[str, ...]] = {
    "fcp": ("members=6",),
    "mep": (),
    "trajedi": (),
    "pbt": ("members=3",),  # as many as Carroll et al. have
    "hsp": ("members=10", "method.candidates=16"),
    "bp": ("members=6", "method.candidates=12"),  # for protocol B only: 12 partners, experts and half trained ones
}
# A pool's agents have learned enough when they earn what published self-play does (see README), long before an agent of
# one's own is done. layout -> words; "": any other. Not for `bp`, whose best responses must be what they are called.
POOL_BUDGETS: dict[str, tuple[str, ...]] = {
    "": ("algo.total_steps=1200000", "algo.ent_horizon=600000", "algo.shaping_horizon=1000000"),
    "forced_coordination": ("algo.total_steps=2000000", "algo.shaping_horizon=1500000"),
    "counter_circuit_o_1order": ("algo.total_steps=2000000", "algo.ent_horizon=800000", "algo.shaping_horizon=1500000"),
}

RECIPES: dict[str, Recipe] = {
    "sp": Recipe(method="ppo", note="self-play"),
    "pbt": Recipe(
        pools=("pbt",), note="as its authors do: one pool per seed, of which the best member by training return"
    ),
    "fcp": Recipe(method="ppo", pools=("fcp",), words=MANY_PARTNERS, note="6 self-play agents x 3 checkpoints"),
    "trajedi": Recipe(method="ppo", pools=("trajedi",), words=MANY_PARTNERS, note="5 agents x 3 checkpoints"),
    "mep": Recipe(method="mep", pools=("mep",), note="5 agents x 3 checkpoints, weak partners drawn more often"),
    "pecan": Recipe(method="pecan", pools=("mep",), note="MEP's pool in groups and ensembles, group inferred"),
    "belief": Recipe(
        method="belief",
        pools=("mep", "hsp", "fcp"),
        explores=False,
        note="ours: pools of MEP, HSP, FCP, and biased partners, all noisy; kickstarting; partner inferred every tick",
    ),
    "hsp": Recipe(method="ppo", pools=("hsp", "mep"), words=MANY_PARTNERS, note="10 of 16 hidden utilities, MEP"),
    "cole": Recipe(method="cole", words=("algo.total_steps=3000000",), note="the ego's own past"),
    "e3t": Recipe(method="e3t", words=E3T, note="noisy copy of itself, next action predicted"),
    "recurrent": Recipe(method="recurrent", pools=("fcp",), words=MANY_PARTNERS, note="memory, FCP's pool"),
    "state_aug": Recipe(
        method="state_aug", pools=("fcp",), explores=False, note="self-play from states of FCP's pool"
    ),
    "upd": Recipe(method="upd", note="noisy, biased copies of itself"),
    "cec": Recipe(method="cec", any_layout=True, note="generated kitchens only; one ego for all layouts"),
    "ppo_bc": Recipe(method="ppo_bc", human_data=True, note="clone of the train half of the human games"),
}

REFERENCES: dict[str, Recipe] = {
    "bc_train": Recipe(human_data=True, note="the clone of the train half itself"),
    "greedy": Recipe(note="scripted cook"),
    "random": Recipe(note="uniform actions"),
    "stay": Recipe(note="never moves"),
}
BP_LAYOUTS = ("coordination_ring", "counter_circuit_o_1order")  # where protocol B is asked for unless said otherwise
EVERYWHERE = "any"  # folder of what serves every kitchen


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What all trainings of a scoreboard have in common."""

    out: Path
    seeds: int = 3
    seed: int = 0
    rules: str = "classic"
    horizon: int = 400
    threads: int = 0
    preset: str | None = None
    pool_words: tuple[str, ...] = ()  # further words of every pool, of every ego
    ego_words: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        at_least(self, 1, "seeds")

    def common(self, layout: str, seed: int, words: Sequence[str]) -> tuple[str, ...]:
        """Words of any training; `words` are our budget."""
        budget = words if self.preset is None else (f"preset={self.preset}",)
        where = (f"layout={layout}", f"rules={self.rules}", f"horizon={self.horizon}", f"threads={self.threads}")
        return (*where, f"seed={seed}", *budget)

    def seed_of(self, *names: str | int) -> int:
        """A root seed of its own for every training, so that no two start from the same parameters."""
        return seeding.derive(self.seed, "scoreboard", *names) % 100_000


@dataclass(frozen=True)
class TrainingStep:
    """One training as a command, and the file that says it is done."""

    command: str  # train | population
    words: tuple[str, ...]
    folder: Path
    result: Path
    role: str  # pool | egos

    @property
    def text(self) -> str:
        """The command line."""
        return " ".join(["coord", self.command, *self.words])


@dataclass(frozen=True)
class TrainingPlan:
    """What must be trained for a method on a layout, in order, and who then contends."""

    steps: tuple[TrainingStep, ...]
    refs: Callable[[], tuple[str, ...]] = field(repr=False)  # to be asked when all is trained


def find_recipe(name: str) -> Recipe:
    """The recipe of a method or a reference.

    Raises:
        UserError: there is none of that name.
    """
    known = RECIPES | REFERENCES
    if name not in known:
        raise unknown("method", name, known)
    return known[name]


def plan(name: str, layout: str, budget: Budget) -> TrainingPlan:
    """What method `name` needs on a layout.

    Raises:
        UserError: see `find_recipe`.
    """
    recipe = find_recipe(name)
    if name in REFERENCES:
        return TrainingPlan((), lambda: (name,))
    if not recipe.method:
        steps = tuple(pool_step(recipe.pools[0], layout, budget, number) for number in range(budget.seeds))
        return TrainingPlan(steps, lambda: tuple(best_member(step.folder) for step in steps))
    pools = tuple(pool_step(pool, layout, budget) for pool in recipe.pools)
    egos = _ego_step(name, recipe, layout, budget, [step.folder for step in pools])
    return TrainingPlan((*pools, egos), lambda: (egos.folder.as_posix(),))


def pool_step(name: str, layout: str, budget: Budget, number: int | None = None) -> TrainingStep:
    """The pool that methods share, or with a number the one of that seed."""
    part = "pool" if number is None else f"pool{number}"
    folder = budget.out / "train" / layout / name / part
    common = budget.common(layout, budget.seed_of(name, part, layout), pool_words(name, layout))
    words = (f"method={name}", *common, *budget.pool_words, f"out={folder.as_posix()}")
    return TrainingStep("population", words, folder, folder / MANIFEST, "pool")


def pool_words(name: str, layout: str) -> tuple[str, ...]:
    """Our budget of a pool on a layout."""
    return POOLS[name] if name == "bp" else (*POOLS[name], *POOL_BUDGETS.get(layout, POOL_BUDGETS[""]))


def ego_words(recipe: Recipe, layout: str) -> tuple[str, ...]:
    """Our budget of a recipe's egos on a layout."""
    is_long = recipe.pools and recipe.explores
    return (*recipe.words, *(EGO_BUDGETS.get(layout, ()) if is_long else ()))


def _ego_step(name: str, recipe: Recipe, layout: str, budget: Budget, pools: Sequence[Path]) -> TrainingStep:
    home = EVERYWHERE if recipe.any_layout else layout
    folder = budget.out / "train" / home / name / "egos"
    place = () if recipe.any_layout else (layout,)
    common = budget.common(layout, budget.seed_of(name, "egos", *place), ego_words(recipe, layout))
    if recipe.any_layout:  # whichever is asked for first, it is the same training
        common = tuple(word for word in common if not word.startswith("layout="))
    partners = (f"partners={','.join(pool.as_posix() for pool in pools)}",) if pools else ()
    words = (f"method={recipe.method}", f"name={name}", f"members={budget.seeds}", *common, *partners)
    result = folder / (AGENT_FILE if budget.seeds == 1 else MANIFEST)
    return TrainingStep("train", (*words, *budget.ego_words, f"out={folder.as_posix()}"), folder, result, "egos")


def best_member(folder: Path) -> str:
    """Reference to the member of a pool with the largest return in training; the first of equals."""
    entries = read_manifest(folder)
    best = max(entries, key=lambda entry: -1.0 if entry["return"] is None else float(entry["return"]))
    return f"{folder.as_posix()}#{best['id']}"


# --------------------------------------------------------------------------------------------------- run folders


def check_same(step: TrainingStep) -> None:
    """Raise `UserError` for words that do not fit, and if the step's folder holds a run with another configuration."""
    asked = _compared(config.load(step.command, step.words))
    if not (step.folder / "config.yaml").exists():
        return
    saved = _compared(config.load_saved(step.command, step.folder / "config.yaml"))
    different = [key for key in asked if saved.get(key) != asked[key]]
    if different:
        key = different[0]
        raise UserError(
            f"{step.folder} was made with {key}={saved.get(key)}, not {asked[key]}: "
            f"give another out=, or remove that folder to train it anew"
        )


def _compared(cfg: Any) -> dict[str, Any]:
    """Field -> value of what makes a training this one; partners count by the last parts of their folders."""
    values = config.to_dict(cfg)
    for name in ("out", *config.RESUMABLE):
        values.pop(name)
    if "partners" in values:
        values["partners"] = ["/".join(Path(ref).parts[-3:]) for ref in values["partners"]]
    return dict(_leaves(values))


def _leaves(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    out = []
    for key, value in values.items():
        out += _leaves(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [(prefix + key, value)]
    return out


def learner_steps(step: TrainingStep) -> tuple[int, int]:
    """How many learners a training has (two per candidate where a pool trains pairs), and environment steps of each."""
    cfg = config.load(step.command, step.words)
    pairs = getattr(cfg.method, "candidates", 0) if step.command == "population" else 0
    return 2 * pairs or cfg.members, cfg.algo.total_steps


def training_facts(step: TrainingStep) -> dict[str, Any]:
    """What a finished training cost: minutes of the training loop, environment steps of all learners, its command."""
    rows = read_metrics(step.folder / "metrics.jsonl")
    last = rows[-1] if rows else {}
    learners = max(1, sum(key.startswith("rollout/return/") for key in last))
    cfg = config.load_saved(step.command, step.folder / "config.yaml")
    return {
        "role": step.role,
        "folder": "/".join(step.folder.parts[-3:]),
        "minutes": float(last.get("time/elapsed_s") or 0.0) / 60,
        "env_steps": int(last.get("step", 0)) * learners,
        "learners": learners,
        "preset": cfg.preset,
        "command": step.text,
    }
