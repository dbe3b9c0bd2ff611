"""`coord demo`: the whole story on one kitchen in a few minutes: pool, ego, scores, report.

Every step is a command that could be typed by itself and is printed before it runs; a step whose result exists is
skipped and one that was interrupted goes on, so a second `coord demo` finishes the first or says that all is done.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coord.limits import Count, Members, Seed, Steps

HELP = "the whole story on one kitchen in a few minutes: pool, ego, scores, report"
EXAMPLES = (
    "coord demo",
    "coord demo out=runs/demo seed=1",
    "coord demo out=runs/ring layout=coordination_ring",
)

PROXY = "human_proxy"
METHODS = {"fcp": "FCP", "sp": "self-play"}
# Many partners are many tasks, and those that hardly act teach the ego to do all the work only if shaping and the
# entropy bonus last: the former to the end, the latter nearly so.
EGO_KITCHENS, EGO_EXPLORES = 72, 2_000_000
GAMES_SHOWN = 20  # games recorded per ego, of which the report shows best, median and worst


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Pool, self-play baseline, FCP ego, scores and report on one kitchen."""

    layout: str = "cramped_room"  # kitchen: one of the five with human games
    pool_members: Members = 6  # self-play partners; three checkpoints of each make the pool
    pool_steps: Steps = 600_000  # environment steps per partner
    ego_members: Members = 4  # seeds of the FCP ego and of the self-play baseline
    sp_steps: Steps = 1_000_000  # environment steps per baseline agent
    fcp_steps: Steps = 2_400_000  # environment steps per ego
    episodes: Count = 100  # games per ego, partner and seat
    seed: Seed = 0  # root of all randomness
    # threads of torch and of the kitchens, part of what a run is; 0: one per usable core, written down as that number
    threads: int = 0
    out: str = "demo"  # folder for everything; a second run goes on where the first stopped


Config = DemoConfig


@dataclass(frozen=True)
class DemoStep:
    """One command: what it is for, its words, and the file that says it is done."""

    title: str
    words: tuple[str, ...]
    result: Path
    run_folder: Path | None = None  # a training step can be resumed from here


def run(overrides: Sequence[str]) -> int:
    """Do what the words say; the exit code."""
    from coord.locks import locked_folder
    from coord.run.config import load

    cfg = load("demo", overrides)
    out = Path(cfg.out)
    check(cfg, out)
    with locked_folder(out):
        return tell_story(cfg, out)


def check(cfg: DemoConfig, out: Path) -> None:
    """Say at once what would hinder the last step: no proxy for that kitchen, or nowhere to write."""
    from coord.evaluation.agents import load_agent
    from coord.files import check_folder

    check_folder(out)
    load_agent(PROXY, cfg.layout, "classic")


def tell_story(cfg: DemoConfig, out: Path) -> int:
    """All steps that are not done yet; the exit code."""
    todo = [step for step in steps(cfg, out) if not step.result.exists()]
    games_done = (out / "games" / "done.json").exists()
    if not todo and games_done:
        print("all is done; remove the folder, or give another out=, to run it again")
    began = time.monotonic()
    total = len(steps(cfg, out))
    for step in steps(cfg, out):
        if step in todo:
            _say(f"step {steps(cfg, out).index(step) + 1} of {total}: {step.title}", began)
            _run(step)
    if not games_done:
        _say("recording games with the human proxy", began)
        record_games(cfg, out)
    write_summary(out)
    from coord.run.commands import report

    print()
    print(table(out))
    return report.run([str(out)])


def steps(cfg: DemoConfig, out: Path) -> list[DemoStep]:
    """The commands of the demo, in order."""
    where, seed, threads = f"layout={cfg.layout}", f"seed={cfg.seed}", f"threads={cfg.threads}"
    pool, sp, fcp = out / "pool", out / "sp", out / "fcp"

    def pool_file(folder: Path) -> Path:
        return folder / "manifest.json"

    def evaluate(ego: Path, partners: str, name: str) -> DemoStep:
        result = out / "eval" / f"{ego.name}-with-{name}.json"
        words = (f"ego={ego}", f"partners={partners}", where, seed, f"episodes={cfg.episodes}", f"out={result}")
        return DemoStep(f"score {METHODS[ego.name]} with {name}", ("evaluate", *words), result)

    population = (f"members={cfg.pool_members}", f"algo.total_steps={cfg.pool_steps}", where, seed, threads)
    baseline = (f"members={cfg.ego_members}", f"algo.total_steps={cfg.sp_steps}", where, f"seed={cfg.seed + 1000}")
    explore = (f"algo.ent_horizon={EGO_EXPLORES}", f"algo.shaping_horizon={cfg.fcp_steps}")
    budget = (f"algo.total_steps={cfg.fcp_steps}", f"algo.num_envs={EGO_KITCHENS}", *explore)
    ego = (f"members={cfg.ego_members}", *budget, where, seed, threads)
    return [
        DemoStep(
            f"train a pool of {cfg.pool_members} self-play partners, three checkpoints each",
            ("population", "method=fcp", *population, f"out={pool}"),
            pool_file(pool),
            pool,
        ),
        DemoStep(
            f"train the baseline: {cfg.ego_members} self-play agents that never met the pool",
            ("train", "name=sp", *baseline, threads, f"out={sp}"),
            _agents_file(sp, cfg.ego_members),
            sp,
        ),
        DemoStep(
            f"train {cfg.ego_members} FCP egos with the pool as partners",
            ("train", "name=fcp", f"partners={pool}", *ego, f"out={fcp}"),
            _agents_file(fcp, cfg.ego_members),
            fcp,
        ),
        evaluate(fcp, PROXY, PROXY),
        evaluate(sp, PROXY, PROXY),
        evaluate(fcp, str(sp), "sp"),
        evaluate(sp, str(pool), "pool"),
        evaluate(fcp, str(pool), "pool"),
        DemoStep(
            "cross-play of the pool",
            ("crossplay", f"pool={pool}", "episodes=10", seed),
            pool / "crossplay.json",
        ),
    ]


def _agents_file(folder: Path, members: int) -> Path:
    return folder / ("agent.safetensors" if members == 1 else "manifest.json")


def _say(text: str, began: float) -> None:
    from coord.run.progress import duration

    print(f"\n[{duration(time.monotonic() - began)}] {text}", flush=True)


def _run(step: DemoStep) -> None:
    """Run one command, from where it was interrupted if it was."""
    from coord.run import cli

    command, *words = step.words
    if step.run_folder is not None and (step.run_folder / "config.yaml").exists():
        words = [f"resume={step.run_folder}"]
    print("$ coord " + " ".join([command, *words]), flush=True)
    cli.command_module(command).run(words)


def record_games(cfg: DemoConfig, out: Path) -> None:
    """Games of the first ego of each method with the human proxy, as files that the report can show."""
    from coord.evaluation.agents import load_agent, load_agents
    from coord.evaluation.matches import Match, MatchRules, play_matches
    from coord.evaluation.report.replay import Game, save_game
    from coord.files import atomic_write_json
    from coord.overcooked import load_layout

    layout = load_layout(cfg.layout)
    where = MatchRules(layout=layout)
    proxy = load_agent(PROXY, layout, where.rules)
    for method in METHODS:
        ego = load_agents([str(out / method)], layout, where.rules)[0]
        played = play_matches(where, [ego, proxy], [Match(0, 1, 0)], episodes=GAMES_SHOWN, seed=cfg.seed, record=True)
        assert played.joint_acts is not None
        order = played.returns[0].argsort(kind="stable")
        for rank, number in (("worst", order[0]), ("median", order[len(order) // 2]), ("best", order[-1])):
            game = Game(
                layout=layout.name,
                grid=list(layout.grid),
                rules=where.rules,
                horizon=where.horizon,
                agents=[str(out / method), PROXY],
                total=float(played.returns[0, number]),
                joint_actions=played.joint_acts[0, number].tolist(),
            )
            save_game(game, out / "games" / f"{method}-{rank}.json")
    atomic_write_json(out / "games" / "done.json", {"games_per_method": GAMES_SHOWN})


def write_summary(out: Path) -> None:
    """Tell the report which ego is the headline and what everybody is called."""
    from coord.files import atomic_write_json

    labels = {str(out / folder): label for folder, label in METHODS.items()}
    summary = {"title": "FCP on one kitchen", "ego": str(out / "fcp"), "baseline": str(out / "sp"), "labels": labels}
    atomic_write_json(out / "summary.json", summary)


def table(out: Path) -> str:
    """Scores of all evaluations of a demo folder, one line each."""
    from coord.files import parse_json, read_text, reading_kept

    lines = [f"{'ego':<12}{'partner':<14}{'games':>6}{'return':>9}  95 % interval     seat 0   seat 1"]
    for path in sorted((out / "eval").glob("*.json")):
        with reading_kept(path, "remove it and say coord demo again"):
            lines.append(_table_line(path.stem, parse_json(read_text(path))))
    return "\n".join(lines)


def _table_line(name: str, result: Any) -> str:
    ego, _, partner = name.partition("-with-")
    summary = result["summary"]
    low, high = summary["ci95"]
    seats = [_seat_mean(result["rows"], seat) for seat in (0, 1)]
    head = f"{METHODS[ego]:<12}{partner:<14}{summary['episodes']:>6}{summary['mean_return']:>9.1f}"
    return f"{head}  [{low:5.1f}, {high:5.1f}]  {seats[0]:>8.1f} {seats[1]:>8.1f}"


def _seat_mean(rows: Sequence[dict[str, Any]], seat: int) -> float:
    mine = [row["mean_return"] for row in rows if row["ego_seat"] == seat]
    return sum(mine) / len(mine)
