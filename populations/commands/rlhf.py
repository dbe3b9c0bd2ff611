"""`coord rlhf`: imitation of human games, a reward from comparisons, PPO held near the imitation; each step scored."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coord import memory
from coord.errors import UserError, unknown
from coord.limits import Count, CountOrNone, Horizon, Members, Seconds, Seed, Steps
from coord.plugins import choice
from coord.preference.steps import RESULT_FILE, SCORE_FILE, STEPS, result, summary

if TYPE_CHECKING:
    from coord.agents.files import StoredAgent
    from coord.algos.ppo import PPOConfig
    from coord.nets.population import PopulationNet
    from coord.overcooked import Layout
    from coord.preference.labels.answerers import TeacherConfig
    from coord.preference.labels.config import FeedbackConfig
    from coord.preference.labels.feedback import Feedback
    from coord.preference.labels.queries import QueryConfig
    from coord.preference.learners.imitation import ImitationConfig
    from coord.preference.learners.kitchen_ppo import Rows
    from coord.preference.learners.kl import KLConfig
    from coord.preference.reward.model import RewardConfig
    from coord.preference.tasks.config import TaskConfig

HELP = "learn from human games and comparisons: imitation, reward model, PPO with a KL penalty"
EXAMPLES = (
    "coord rlhf layout=cramped_room out=runs/rlhf",
    "coord rlhf layout=coordination_ring partners=runs/pool labels=1000 out=runs/rlhf",
    "coord rlhf layout=cramped_room kl.coef=0 out=runs/without_kl",
    "coord rlhf layout=cramped_room refresh_labels=250 out=runs/refreshed",
    "coord rlhf resume=runs/rlhf",
)


@dataclass(frozen=True, kw_only=True)
class RLHFConfig:
    """Imitation of human games, a reward from comparisons, PPO held near the imitation; all figures per member."""

    imitation: ImitationConfig = choice("clone", {"clone": "coord.preference.learners.imitation:ImitationConfig"})
    reward: RewardConfig = choice("ensemble", {"ensemble": "coord.preference.reward.model:RewardConfig"})
    query: QueryConfig = choice("pairs", {"pairs": "coord.preference.labels.queries:QueryConfig"})
    teacher: TeacherConfig = choice("bpref", {"bpref": "coord.preference.labels.answerers:TeacherConfig"})
    kl: KLConfig = choice("penalty", {"penalty": "coord.preference.learners.kl:KLConfig"})
    algo: PPOConfig = choice("ppo", {"ppo": "coord.algos.ppo:PPOConfig"})
    # kitchen for which human games exist: a name of overcooked-ai, or the path of a layout file
    layout: str = "cramped_room"
    rules: str = "classic"  # the rules of the human games; no others are allowed
    horizon: Horizon = 400  # ticks per game
    seed: Seed = 0  # root of all randomness
    members: Members = 3  # independent pipelines (seeds) side by side, each with a policy and labels of its own
    # whom the second and third step play with: pools, agents or built-in names, comma separated
    partners: tuple[str, ...] = ("bc_train",)
    reward_sees_partner: bool = True  # whether the reward model also reads what the partner did
    reward_sees_change: bool = True  # it reads what each tick changed in the kitchen instead of how it stood
    # with chefs' steps and the clocks, not just things moved; null: if the teacher minds them
    reward_sees_moves: bool | None = None
    labels: Count = 500  # budget of queries per member; a skipped one counts
    session_labels: Count = 50  # queries per session; before each, the second step plays one game in every kitchen
    # how many of the labels are for games of the third step; 0: its reward model is frozen
    refresh_labels: CountOrNone = 0
    refresh_every: Steps = 200_000  # environment steps of the third step between sessions
    # teacher: a scripted one that knows what it wants; human: people, through reward/labels.sqlite
    answerer: str = "teacher"
    # answerer=human: seconds a session waits for its answers; then it learns from those there are
    answer_wait_s: Seconds = 0.0
    pool_episodes: Count = 100  # games per member that queries are cut from
    value_updates: CountOrNone = 10  # rollouts at the start of the third step from which only the value learns
    proxies: tuple[str, ...] = ("human_proxy",)  # agents that judge every step; nothing learns from them
    episodes: Count = 50  # games per member and seat with each of them
    # threads of torch and of the kitchens, part of what a run is; 0: one per usable core, written down as that number
    threads: int = 0
    save_every_s: Seconds = 60.0  # seconds between checkpoints
    out: str | None = None  # run folder; null: runs/overcooked/<layout>/rlhf/<date>-<hash>/seed<k>
    resume: str | None = None  # run folder to go on with, with the configuration saved there
    change_threads: bool = False  # true: resume= may go on with another number of threads=, to another result

    def __post_init__(self) -> None:
        if self.rules != "classic":
            raise unknown("rules with human games", self.rules, ("classic",))
        if self.algo.network != "mlp_index":
            raise unknown("network of coord rlhf (algo.network)", self.algo.network, ("mlp_index",))
        if self.labels - self.refresh_labels < self.session_labels:
            raise UserError(
                f"labels={self.labels} less refresh_labels={self.refresh_labels} is less than one session asks for "
                f"(session_labels={self.session_labels}): raise labels, or lower one of the others"
            )
        if not self.partners or not self.proxies:
            raise UserError("coord rlhf needs partners to learn with and proxies to be scored with")


Config = RLHFConfig


def run(overrides: Sequence[str]) -> int:
    """Do what of the three steps is not done; the exit code."""
    from coord.run.config import load

    print(summary(pipeline(load("rlhf", overrides))))
    return 0


@dataclass(frozen=True)
class Pipeline:
    """What the three steps share."""

    cfg: RLHFConfig
    home: Layout
    partners: tuple[StoredAgent, ...]  # to learn with
    proxies: tuple[StoredAgent, ...]  # to be judged with
    folder: Path

    @property
    def seeds(self) -> list[int]:
        """One per member, whatever their number."""
        from coord import seeding

        return seeding.member_seeds(self.cfg.seed, self.cfg.members)

    def step(self, name: str) -> Path:
        """The folder of a step."""
        return self.folder / name

    @property
    def agents(self) -> dict[str, Path]:
        """Where the agents of a step are: the last ones in the run folder itself."""
        return {"imitation": self.step("imitation"), "policy": self.folder}


def pipeline(cfg: RLHFConfig) -> Path:
    """All steps that are not done yet; the run folder with the agents, and `result.json`.

    Raises:
        UserError: unknown layout, partner or proxy, no human games, held-out partners, settings that do not fit, a
            folder that holds another run, a full disk; see also `run_job`.
    """
    from coord.run.folder import check_out, open_run
    from coord.threads import set_threads

    check_out(cfg)
    set_threads(cfg.threads)
    parts = prepare(cfg)  # before the folder is made: whatever is refused leaves nothing behind
    with open_run(cfg, algo="rlhf", layout=cfg.layout, read=inputs_of(cfg, *parts[1:])) as folder:
        do_steps(Pipeline(cfg, *parts, folder))
    return folder


def do_steps(whole: Pipeline) -> None:
    """What of the steps is not done, and `result.json`."""
    from coord.checkpoint import provenance
    from coord.files import atomic_write_json
    from coord.run.config import to_dict

    actions: dict[str, Callable[[Pipeline], dict[str, Any]]] = {
        "imitation": imitate,
        "reward": learn_reward,
        "policy": learn_policy,
    }
    for name in STEPS:
        if not (whole.step(name) / SCORE_FILE).exists():
            whole.step(name).mkdir(exist_ok=True)
            score = actions[name](whole)
            atomic_write_json(whole.step(name) / SCORE_FILE, score)
    found = result(whole.home.name, whole.cfg.proxies, {name: whole.step(name) for name in STEPS})
    atomic_write_json(whole.folder / RESULT_FILE, {**found, "provenance": provenance(to_dict(whole.cfg))})


def inputs_of(cfg: RLHFConfig, partners: tuple[StoredAgent, ...], proxies: tuple[StoredAgent, ...]) -> dict[str, Any]:
    """What a run folder keeps of what was read."""
    from coord.evaluation.agents import identities

    return {"partners": identities(cfg.partners, partners), "proxies": identities(cfg.proxies, proxies)}


def prepare(cfg: RLHFConfig) -> tuple[Layout, tuple[StoredAgent, ...], tuple[StoredAgent, ...]]:
    """Layout, partners and proxies, checked: see `pipeline`."""
    from coord.agents.files import check_id
    from coord.algos import ppo
    from coord.algos.bc import recorded_layout
    from coord.evaluation.agents import hashes_of, load_networks, load_training_partners
    from coord.overcooked import load_layout
    from coord.preference.labels import queries
    from coord.preference.learners.imitation import arch_of

    check_id(f"imitation{cfg.seed}-{cfg.members}", asked=f"seed={cfg.seed}")
    queries.check(cfg.query, cfg.reward)
    stored = cfg.reward.stored_length(cfg.query.length)
    if stored > cfg.horizon:
        raise UserError(f"query.length={cfg.query.length} (stored: {stored} ticks) does not fit horizon={cfg.horizon}")
    home = load_layout(cfg.layout)
    recorded_layout(home)
    parts = ppo.memory_parts(cfg.algo, arch_of(home, cfg.rules, cfg.algo.hidden), cfg.members)
    memory.check(parts, "lower members, algo.num_envs, algo.rollout_len or algo.hidden")
    partners = load_training_partners(cfg.partners, home, cfg.rules)
    shared = set(hashes_of(cfg.partners)) & set(hashes_of(cfg.proxies))
    if shared:
        raise UserError(f"proxies={','.join(cfg.proxies)}: nobody is scored with the partners it learns with")
    return home, tuple(partners), tuple(load_networks(cfg.proxies, home, cfg.rules))


# ------------------------------------------------------------------------------------------------------- the steps


def imitate(whole: Pipeline) -> dict[str, Any]:
    """Step 1; its score with the proxies."""
    from coord.preference.learners import imitation
    from coord.preference.learners.imitation import Imitators

    cfg = whole.cfg
    games = imitation.read_games(whole.home, cfg.imitation, cfg.seed)
    arch = imitation.arch_of(whole.home, cfg.rules, cfg.algo.hidden)
    state = Imitators.create(cfg.imitation, arch, whole.seeds, len(games.fit.acts))
    shown = {"loss": "eval/bc_loss", "accuracy": "eval/bc_accuracy"}
    run_step(whole, "imitation", state, games, train=imitation.train, shown=shown)
    write_agents(whole, "imitation", state.net, state.env_step, {"epochs": cfg.imitation.epochs})
    return scored(whole, "imitation")


def learn_reward(whole: Pipeline) -> dict[str, Any]:
    """Step 2; how well its models order games of the imitation policy with the proxies."""
    from coord.preference.learners import rlhf

    cfg, policy = whole.cfg, imitated(whole)
    env = kitchens(whole, "reward", whole.partners, cfg.algo.num_envs)
    feedback = open_feedback(whole, env, cfg.labels - cfg.refresh_labels)
    env.on_step = feedback.record
    state = rlhf.RewardTraining.create(policy, feedback, env, whole.seeds)
    shown = {"accuracy": "reward/accuracy", f"labels (of {cfg.labels})": "reward/labels"}
    run_step(whole, "reward", state, env, train=rlhf.compare, shown=shown)
    unseen = kitchens(whole, "reward score", whole.proxies, 2 * cfg.episodes)
    found = rlhf.judge_reward(feedback, policy, unseen, whole.seeds)
    counts = {key.partition("/")[2]: value.tolist() for key, value in feedback.report().items()}
    figures = {key: [None if math.isnan(one) else one for one in value.tolist()] for key, value in found.items()}
    return {"proxies": list(cfg.proxies), **figures, **counts}


def learn_policy(whole: Pipeline) -> dict[str, Any]:
    """Step 3; its score with the proxies."""
    from coord.preference.learners import rlhf, warm_start

    cfg, policy = whole.cfg, imitated(whole)
    env = kitchens(whole, "policy", whole.partners, cfg.algo.num_envs)
    feedback = open_feedback(whole, env, cfg.labels)
    feedback.load_state_dict(after_reward(whole))
    env.on_step = feedback.record if cfg.refresh_labels else env.on_step
    settings = rlhf.TuningConfig(kl=cfg.kl, value_updates=cfg.value_updates, refresh_every=cfg.refresh_every)
    tuning = rlhf.Tuning(settings, policy, feedback, rlhf.reward_scale(feedback))
    state = warm_start.start_from(cfg.algo, policy, whole.seeds)
    shown = {"return": "rollout/return", "KL": "reward/kl", "beta": "reward/kl_coef"}
    run_step(whole, "policy", state, env, train=partial(rlhf.tune, tuning), shown=shown, extra=tuning)
    facts = {"labels": feedback.report()["reward/labels"].tolist(), "teacher": teacher_name(cfg)}
    facts |= {name: value.tolist() for name, value in tuning.found.items() if name in ("reward/kl", "reward/kl_coef")}
    write_agents(whole, "policy", state.net, state.env_step, facts)
    return {**scored(whole, "policy"), **facts}


def run_step(whole: Pipeline, name: str, state: Any, env: Any, **job: Any) -> None:
    """Trains to the end of a step, from its last checkpoint if there is one; Ctrl-C says how to go on."""
    from coord.run.training import TrainingJob, run_job

    cfg = whole.cfg
    title = f"rlhf on {whole.home.name}, step {STEPS.index(name) + 1} of {len(STEPS)}: {name}"
    resume = f"coord rlhf resume={whole.folder}"
    run_job(TrainingJob(whole.step(name), title, resume, state, env, cfg.save_every_s, **job))


def kitchens(whole: Pipeline, name: str, partners: Sequence[StoredAgent], rows: int) -> Rows:
    """`rows` kitchens per member; draws of partners are a step's own."""
    from coord import seeding
    from coord.overcooked import OvercookedVectorEnv
    from coord.preference.learners.kitchen_ppo import Rows
    from coord.preference.tasks.kitchen_env import KitchenTaskEnv, kitchen_options

    cfg, seed = whole.cfg, seeding.derive(whole.cfg.seed, "rlhf", name)
    env = OvercookedVectorEnv(whole.home, cfg.members * rows, horizon=cfg.horizon, rules=cfg.rules, seed=seed)
    options = kitchen_options(task_of(cfg))
    return Rows(KitchenTaskEnv(env, partners, seed=seed, **options), "index", lambda *step: None)


def open_feedback(whole: Pipeline, env: Rows, labels: int) -> Feedback:
    """Sessions with a budget of `labels`; the answers of all steps lie in the second one's folder."""
    from coord.preference.labels.feedback import Feedback

    feedback = Feedback.create(feedback_of(whole.cfg, labels), env.env, whole.seeds)
    feedback.open(whole.step("reward"))
    return feedback


def task_of(cfg: RLHFConfig) -> TaskConfig:
    """What kitchens are made from."""
    from coord.preference.tasks.config import KITCHENS, TaskConfig

    return TaskConfig(
        env=KITCHENS,
        teacher=cfg.teacher,
        members=cfg.members,
        seed=cfg.seed,
        layout=cfg.layout,
        rules=cfg.rules,
        horizon=cfg.horizon,
        sees_partner=cfg.reward_sees_partner,
        sees_change=cfg.reward_sees_change,
        sees_moves=cfg.reward_sees_moves,
    )


def feedback_of(cfg: RLHFConfig, labels: int) -> FeedbackConfig:
    """Sessions for that many labels in all; nobody's flags are heeded."""
    from coord.preference.labels.config import FeedbackConfig
    from coord.preference.reward.safety import SafetyConfig

    same = "reward query teacher session_labels pool_episodes answerer answer_wait_s"
    shared = {name: getattr(cfg, name) for name in same.split()}
    return FeedbackConfig(task=task_of(cfg), safety=SafetyConfig(), labels=labels, **shared)


def after_reward(whole: Pipeline) -> dict[str, Any]:
    """The state of the feedback when the second step was done."""
    from coord import checkpoint
    from coord.run.training import STATE_FILE

    tensors, _ = checkpoint.load(whole.step("reward") / STATE_FILE)
    prefix = "state.feedback."
    return {key[len(prefix) :]: tensor for key, tensor in tensors.items() if key.startswith(prefix)}


def imitated(whole: Pipeline) -> PopulationNet:
    """pi_0 of all members, read from the first step's agents."""
    from coord.evaluation.agents import load_training_partners
    from coord.nets.population import PopulationNet

    found = load_training_partners([str(whole.agents["imitation"])], whole.home, whole.cfg.rules)
    return PopulationNet.stack([agent.net for agent in found])


# ------------------------------------------------------------------------------------------------------ what is left


def teacher_name(cfg: RLHFConfig) -> str:
    """Who answers, for cards."""
    return cfg.teacher.kind if cfg.answerer == "teacher" else cfg.answerer


def write_agents(whole: Pipeline, step: str, net: PopulationNet, steps: int, facts: dict[str, Any]) -> None:
    """One agent per member, with where it comes from on its card: a lone file, or a pool."""
    from coord.agents.files import AGENT_FILE, MANIFEST, AgentCard
    from coord.evaluation.agents import hashes_of
    from coord.overcooked import OvercookedVectorEnv
    from populations.pool import NewMember
    from populations.training import write_egos

    cfg, folder = whole.cfg, whole.agents[step]
    if (folder / (AGENT_FILE if net.members == 1 else MANIFEST)).exists():
        return
    learned_with = {} if step == "imitation" else {"trained_with": hashes_of(cfg.partners)}
    spec = OvercookedVectorEnv(whole.home, 1, rules=cfg.rules).spec.to_dict()
    name = "rlhf" if step == "policy" else step
    found = []
    for m in range(net.members):
        card = AgentCard(
            agent_id=f"{name}{cfg.seed}-{m}",
            layouts={whole.home.name: whole.home.hash},
            rules=cfg.rules,
            method=name,
            arch=net.arch,
            seed=cfg.seed,
            member=m,
            env_steps=steps,
            spec=spec,
            human_data="train",
            extra=learned_with | {key: of_member(value, m) for key, value in facts.items()},
        )
        found.append(NewMember(card, net.select([m])))
    write_egos(folder, found)


def of_member(value: Any, m: int) -> Any:
    """The entry of member m where a fact has one for each."""
    return value[m] if isinstance(value, list) else value


def scored(whole: Pipeline, step: str) -> dict[str, Any]:
    """Games of a step's agents with every proxy in both seats, as `coord evaluate` plays them."""
    from coord.evaluation.agents import load_agents
    from coord.evaluation.matches import MatchRules
    from coord.evaluation.scoreboard import refuse_leaks
    from coord.evaluation.scores import ScoreRequest, score

    cfg, ref = whole.cfg, str(whole.agents[step])
    refuse_leaks([ref], cfg.proxies)
    where = MatchRules(layout=whole.home, rules=cfg.rules, horizon=cfg.horizon)
    egos, proxies = (load_agents(refs, whole.home, cfg.rules) for refs in ([ref], cfg.proxies))
    return score(egos, proxies, ScoreRequest(where=where, episodes=cfg.episodes, seed=cfg.seed))
