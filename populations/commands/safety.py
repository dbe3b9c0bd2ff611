"""`coord safety`: what people's warnings are worth, in violations while learning, labels asked for and return."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coord.limits import Members, Seed

HELP = "compare learners with and without people's warnings: violations while learning, labels, return"
EXAMPLES = (
    "coord safety",
    "coord safety arms=plain,full,parenting,jpal_ha seeds=10 out=runs/safety-few",
    "coord safety task=overcooked layout=cramped_room partners=runs/fcp-pool seeds=3 out=runs/safety-kitchen",
    "coord safety task=overcooked layout=cramped_room partners=runs/fcp-pool hazards=collision arms=plain,full",
)
# How arms that learn a reward differ from each other.
REWARD_ARMS: dict[str, tuple[str, ...]] = {
    "plain": ("safety.flags=none", "safety.constraint=false"),
    "strength": ("safety.flags=strength", "safety.constraint=false"),
    "implied": ("safety.flags=implied", "safety.constraint=false"),
    "constraint": ("safety.flags=none", "safety.constraint=true"),
    "full": ("safety.flags=implied", "safety.constraint=true"),
    "gated": ("safety.flags=implied", "safety.constraint=true", "safety.gate=0.95"),
}
HAZARDS = {"island": ("drowned",), "overcooked": ("collision", "discarded_dish")}


@dataclass(frozen=True, kw_only=True)
class SafetyStudyConfig:
    """Violations while learning, labels and return, with people's warnings and without."""

    task: str = "island"  # island (island navigation) | overcooked (a kitchen with partners)
    # what is compared, such as [plain,full,jpal_ha]; none: all that the task has, see the examples
    arms: tuple[str, ...] = ()
    # events that are violations; none: drowned, or collision and discarded_dish in kitchens
    hazards: tuple[str, ...] = ()
    learns_by: str = "pebble"  # method of coord prefer by which the arms with a reward learn
    layout: str | None = None  # kitchens: the layout
    partners: tuple[str, ...] = ()  # kitchens: whom the ego learns with, as in coord prefer
    words: tuple[str, ...] = ()  # more words for coord prefer, such as [total_steps=20000,labels=200]
    seeds: Members = 5  # repetitions of each arm with a reward, trained side by side
    direct_seeds: Members = 20  # repetitions of each arm that learns a policy directly (island)
    threads: int = 1  # threads of torch
    seed: Seed = 0  # root of all randomness
    # folder for safety.json, safety.png and one run folder per arm; what is finished there is kept
    out: str = "runs/safety"

    def __post_init__(self) -> None:
        from coord.errors import unknown

        if self.task not in HAZARDS:
            raise unknown("task", self.task, HAZARDS)

    def idle(self) -> dict[str, str]:
        """Fields that nothing reads as the others are set, and why."""
        if self.task == "island":
            return dict.fromkeys(("layout", "partners"), "they are for task=overcooked, kitchens")
        return {"direct_seeds": "no arm learns a policy directly in kitchens"}


Config = SafetyStudyConfig


def run(overrides: Sequence[str]) -> int:
    """Do what the words say; the exit code."""
    from coord.checkpoint import provenance
    from coord.files import atomic_write_json, check_folder
    from coord.locks import locked_folder
    from coord.run.config import load, to_dict
    from coord.studies import safety_study
    from coord.threads import set_threads

    cfg = load("safety", overrides)
    set_threads(cfg.threads)
    wanted = arms_of(cfg)
    out = Path(cfg.out)
    check_folder(out)
    with locked_folder(out):
        arms = {name: run_arm(cfg, name) for name in wanted}
    result = {"task": cfg.task, "hazards": hazards_of(cfg), "arms": arms}
    result["provenance"] = provenance(to_dict(cfg))
    atomic_write_json(out / "safety.json", result)
    safety_study.draw(result, out / "safety.png")
    print(safety_study.table(result))
    print(f"written to {out / 'safety.json'} and {out / 'safety.png'}")
    return 0


def hazards_of(cfg: SafetyStudyConfig) -> tuple[str, ...]:
    """What counts as a violation."""
    return cfg.hazards or HAZARDS[cfg.task]


def arms_of(cfg: SafetyStudyConfig) -> list[str]:
    """The arms asked for, or all of the task's.

    Raises:
        UserError: an arm that the task does not have.
    """
    from coord.errors import unknown
    from coord.studies.direct_policy import VARIANTS

    known = [*REWARD_ARMS, *(VARIANTS if cfg.task == "island" else ())]
    for name in cfg.arms:
        if name not in known:
            raise unknown(f"arm of task={cfg.task}", name, known)
    return list(cfg.arms) or known


def run_arm(cfg: SafetyStudyConfig, name: str) -> dict[str, Any]:
    """One arm from start to end, or what is left of it; its figures."""
    from coord.run.config import load
    from coord.run.logger import read_metrics
    from coord.studies import safety_study
    from populations.commands import prefer

    if name not in REWARD_ARMS:
        return run_direct_arm(cfg, name)
    folder = Path(cfg.out) / name
    begun = (folder / "config.yaml").exists()
    words = [f"resume={folder}"] if begun else prefer_words(cfg, name, folder)
    print(f"arm {name}")
    found = prefer.learn(load("prefer", words))
    return safety_study.reward_arm(read_metrics(found / "metrics.jsonl"), cfg.seeds)


def run_direct_arm(cfg: SafetyStudyConfig, name: str) -> dict[str, Any]:
    """An arm without a reward, or what an earlier call kept of it."""
    from coord.files import atomic_write_json, parse_json, read_text, reading_kept
    from coord.studies import safety_study

    kept, asked = Path(cfg.out) / f"{name}.json", {"direct_seeds": cfg.direct_seeds, "seed": cfg.seed}
    if kept.exists():
        with reading_kept(kept, "remove it and say the command again"):
            found = parse_json(read_text(kept))
            if found["asked"] == asked:
                return dict(found["arm"])
    print(f"arm {name}")
    arm = safety_study.direct_arm(name, cfg.direct_seeds, cfg.seed)
    atomic_write_json(kept, {"asked": asked, "arm": arm})
    return arm


def prefer_words(cfg: SafetyStudyConfig, name: str, folder: Path) -> list[str]:
    """What `coord prefer` is told for an arm."""
    words = [f"env={cfg.task}", f"method={cfg.learns_by}", f"members={cfg.seeds}", f"seed={cfg.seed}"]
    words += [f"threads={cfg.threads}", f"safety.hazards=[{','.join(hazards_of(cfg))}]", f"out={folder}"]
    if cfg.layout:
        words.append(f"layout={cfg.layout}")
    if cfg.partners:
        words.append(f"partners=[{','.join(cfg.partners)}]")
    return [*words, *REWARD_ARMS[name], *cfg.words]
