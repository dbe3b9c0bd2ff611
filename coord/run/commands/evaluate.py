"""`coord evaluate`: score an ego with partners, in every seat, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from coord.limits import Count, Horizon, Seed

HELP = "score an ego with partners, in every seat, with intervals; or policies of a control task"
EXAMPLES = (
    "coord evaluate ego=runs/ego partners=human_proxy layout=cramped_room out=score.json",
    "coord evaluate ego=bc_train partners=human_proxy,random,stay layout=coordination_ring episodes=50",
    "coord evaluate ego=runs/pool#sp0-final partners=runs/pool stochastic=false",
    "coord evaluate ego=runs/pecan partners=human_proxy games_in_a_row=4 context=between",
    "coord evaluate human=games.sqlite out=people.json",
    "coord evaluate ego=runs/walker/pebble episodes=20 video=walk.mp4",
)
VIDEO_FPS = 30


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """One ego with each partner, in each seat."""

    # agent: a built-in name, a .safetensors file, a run folder, <pool>#<member>, or a pool: seeds of one method; or
    # policies of a control task
    ego: str | None = None
    partners: tuple[str, ...] = ()  # agents or pools, comma separated
    layout: str = "cramped_room"  # kitchen: a name of overcooked-ai, or the path of a layout file
    rules: Literal["classic", "overcooked-ai"] = "classic"  # classic or overcooked-ai
    horizon: Horizon = 400  # ticks per game
    episodes: Count = 100  # games per pair and seat
    stochastic: bool = True  # draw actions from the policies (true) or take the most likely one (false)
    drop_stay: bool = False  # true: agents never choose to stay, as in some published evaluations of clones
    mask_useless_actions: bool = False  # true: agents may only choose actions that have an effect (HSP, ZSC-Eval)
    games_in_a_row: Count = 1  # of episodes, that the same two play without a break
    # what egos keep of a partner then: within (nothing) | between (past games only) | both; null: as trained
    context: Literal["within", "between", "both"] | None = None
    seed: Seed = 0  # root of all randomness
    # recordings of the game client: score the agents that people played with, instead of an ego
    human: str | None = None
    video: str | None = None  # film of an episode of the (first) policy of a control task: a .gif or .mp4 file
    out: str | None = None  # JSON file to write; null: only print the table

    def idle(self) -> dict[str, str]:
        """Fields that nothing reads as the others are set, and why."""
        if self.human is None:
            return (
                {}
                if self.games_in_a_row > 1 or self.context is None
                else {"context": "it is for games_in_a_row=2 and more"}
            )
        read = ("human", "seed", "out")
        return {
            field.name: "human= scores games that were played already"
            for field in fields(self)
            if field.name not in read
        }


Config = EvaluateConfig


def run(overrides: Sequence[str]) -> int:
    """Do what the words say; the exit code."""
    from coord.checkpoint import provenance
    from coord.evaluation import human_games
    from coord.evaluation.control_scores import policy_files
    from coord.files import atomic_write_json, check_place
    from coord.run.config import load, to_dict

    cfg = load("evaluate", overrides)
    if cfg.out is not None:
        check_place(cfg.out)
    if files := policy_files(cfg.ego):
        result = evaluate_control(cfg, files)
    elif cfg.human is not None:
        result = human_games.score_recorded(cfg.human, seed=cfg.seed)
        print(human_games.table(result))
    else:
        result = evaluate(cfg)
        print(table(result))
    if cfg.out is not None:
        atomic_write_json(cfg.out, {**result, "provenance": provenance(to_dict(cfg))})
        print(f"written to {cfg.out}")
    return 0


def evaluate(cfg: EvaluateConfig) -> dict[str, Any]:
    """Load the agents and play; the JSON document without provenance.

    Raises:
        UserError: see `coord.evaluation.agents` and `coord.evaluation.scores`.
    """
    from coord.errors import UserError
    from coord.evaluation.agents import load_agents
    from coord.evaluation.matches import MatchRules
    from coord.evaluation.scores import ScoreRequest, score
    from coord.overcooked import load_layout

    if cfg.video is not None:
        raise UserError(f"video={cfg.video} is for policies of control tasks; games in kitchens: coord replay")
    if cfg.ego is None:
        raise UserError("which agent is to be scored? give ego=<agent>, e.g. ego=bc_train")
    layout = load_layout(cfg.layout)
    options = {"stochastic": cfg.stochastic, "drop_stay": cfg.drop_stay}
    egos = load_agents([cfg.ego], layout, cfg.rules, **options)
    partners = load_agents(cfg.partners, layout, cfg.rules, **options)
    where = MatchRules(
        layout=layout, rules=cfg.rules, horizon=cfg.horizon, mask_useless_actions=cfg.mask_useless_actions
    )
    request = ScoreRequest(
        where=where,
        episodes=cfg.episodes,
        seed=cfg.seed,
        games_in_a_row=cfg.games_in_a_row,
        context=cfg.context,
        **options,
    )
    return {**score(egos, partners, request), "ego": cfg.ego}


def evaluate_control(cfg: EvaluateConfig, files: Sequence[Path]) -> dict[str, Any]:
    """Scores policies of a control task, prints the table and films the first where asked; the JSON document.

    Raises:
        UserError: fields that are for kitchens; see also `coord.evaluation.control_scores`.
    """
    from coord.errors import UserError
    from coord.evaluation import control_scores
    from coord.run import media

    known, plain = ("ego", "episodes", "seed", "out", "video"), EvaluateConfig()
    for name in (field.name for field in fields(cfg) if field.name not in known):
        if getattr(cfg, name) != getattr(plain, name):
            raise UserError(f"{name}= is for kitchens; {cfg.ego} holds policies of a control task: {', '.join(known)}")
    if cfg.video is not None:
        media.check_film(cfg.video)
    result = {**control_scores.score(files, episodes=cfg.episodes, seed=cfg.seed), "ego": cfg.ego}
    print(control_table(result))
    if cfg.video is not None:
        media.save_film(cfg.video, control_scores.film(files[0], seed=cfg.seed), fps=VIDEO_FPS)
        print(f"{files[0].stem} filmed in {cfg.video}")
    return result


def control_table(result: dict[str, Any]) -> str:
    """The rows and the summary of such a score as text."""
    lines = [f"{result['ego']} on {result['task']}, {result['episodes']} episodes each"]
    lines.append(f"{'policy':<32}{'return':>9}  {'95 % interval':<20}{'success':>8}")
    summary = result["summary"] | {"ego": "mean", "success": (result["success"] or {}).get("mean_return")}
    for row in [*result["rows"], *([summary] if len(result["rows"]) > 1 else [])]:
        low, high = row["ci95"]
        success = "" if row["success"] is None else f"{row['success']:.2f}"
        lines.append(f"{row['ego']:<32}{row['mean_return']:>9.1f}  {f'[{low:.1f}, {high:.1f}]':<20}{success:>8}")
    return "\n".join(lines)


def table(result: dict[str, Any]) -> str:
    """The rows and the summary of a score as text."""
    lines = [f"{result['ego']} on {result['layout']}, {result['rules']} rules, {result['horizon']} ticks"]
    lines.append(f"{'partner':<32}{'seat':>5}{'games':>7}{'return':>9}  95 % interval")
    several = len({row["ego"] for row in result["rows"]}) > 1
    for row in result["rows"]:
        low, high = row["ci95"]
        name = f"{row['ego']} with {row['partner']}" if several else row["partner"]
        head = f"{name:<32}{row['ego_seat']:>5}{row['episodes']:>7}"
        lines.append(f"{head}{row['mean_return']:>9.1f}  [{low:.1f}, {high:.1f}]")
    summary = result["summary"]
    for name, value, (low, high) in (
        ("mean", summary["mean_return"], summary["ci95"]),
        ("interquartile mean", summary["iqm"], summary["iqm_ci95"]),
    ):
        lines.append(f"{name:<37}{summary['episodes']:>7}{value:>9.1f}  [{low:.1f}, {high:.1f}]")
    for number, one in enumerate(result["by_game"] if result["games_in_a_row"] > 1 else (), start=1):
        low, high = one["ci95"]
        name = f"game {number} in a row"
        lines.append(f"{name:<37}{one['episodes']:>7}{one['mean_return']:>9.1f}  [{low:.1f}, {high:.1f}]")
    return "\n".join(lines)
