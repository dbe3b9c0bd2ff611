"""Preference learning on SAC: one loop for every method that learns from a replay of relabelled transitions.

PEBBLE's schedule (Lee, Smith and Abbeel 2021) as B-Pref runs it: random steps; unsupervised pretraining on the entropy
of states; the switch (first session with uniform queries, rewards of the whole replay replaced, a new critic and
`reset_updates` gradient steps); then feedback sessions every `session_every` steps until the budget of labels is
spent, each followed by relabelling. What a method changes stands in its
file in `coord/preference/methods` (`PreferenceMethod`).

M members (seeds) train in step, each with its own environments, labels, reward model and generators. Within a step the
action is chosen before the update, as in B-Pref. Everything that training changes is in `SACRun.state_dict` and in the
state of the environments, so a run that was killed at any step goes on bit for bit.

Deviations from B-Pref: the running variance of the novelty reward is the exact one; relabelling covers every row; the
thresholds of teachers are scaled once; updates per step and environments per member may differ from one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from coord import seeding
from coord.algos import sac
from coord.algos.ppo import Hooks
from coord.buffers import ReplayBatch, ReplayBuffer
from coord.checkpoint import Savable
from coord.preference.config import PreferConfig
from coord.preference.labels.feedback import Feedback
from coord.preference.learners.intrinsic import RunningStd, knn_reward
from coord.preference.learners.run import LearnerRun
from coord.preference.learners.tally import EpisodeLog, Tally, restore, state_of
from coord.preference.methods.method import PreferenceMethod
from coord.preference.tasks.config import KITCHENS
from coord.preference.tasks.task_env import TaskEnv, TaskEnvs, TaskStep

if TYPE_CHECKING:
    from coord.nets.population import PopulationNet
    from coord.preference.tasks.kitchen_env import KitchenTaskEnv

Metrics = dict[str, Tensor]
RELABEL_CHUNK = 4096  # rows per member at a time


# ------------------------------------------------------------------------------------------------------- state


@dataclass
class SACRun(LearnerRun):
    """Everything that training changes, except the environments."""

    PARTS = ("sac", "buffer", "novelty", "tally", "episodes", "feedback", "extra")

    cfg: PreferConfig
    method: PreferenceMethod
    sac: sac.SACState
    buffer: ReplayBuffer
    feedback: Feedback | None  # None: the true reward is given
    explorers: list[torch.Generator]  # random actions, one per member
    rows: int  # N, environments per member
    max_episode_steps: int
    extra: Savable | None = None  # what the method remembers
    novelty: RunningStd = field(init=False)
    tally: Tally = field(default_factory=Tally)
    episodes: EpisodeLog = field(init=False)
    env_step: int = 0  # per member
    switched: bool = False  # the first session is over
    last_extra: int = 0  # env step at which the method last did what it does from time to time
    updates: int = 0  # ordinary updates and those in their place

    def __post_init__(self) -> None:
        self.novelty = RunningStd(self.members, self.cfg.device)
        self.episodes = EpisodeLog(self.members, self.rows)
        if self.method.create is not None:
            self.extra = self.method.create(self)

    @property
    def members(self) -> int:
        """M."""
        return len(self.explorers)

    @property
    def phase(self) -> str:
        """Where the run stands, in words."""
        if self.env_step < self.cfg.seed_steps:
            return "random actions"
        return super().phase

    @property
    def own(self) -> Any:
        """The method's own configuration."""
        return self.cfg.method

    def is_due(self, every: int) -> bool:
        """Whether a multiple of `every` steps has passed since this last said so."""
        due = crossed(self.last_extra, self.env_step, every)
        self.last_extra = self.env_step if due else self.last_extra
        return due

    def relabel(self) -> None:
        """Gives every transition of the replay the reward that the model predicts now."""
        assert self.feedback is not None
        self.buffer.relabel(self.feedback.reward, RELABEL_CHUNK)

    def state_dict(self) -> dict[str, Tensor | np.ndarray]:
        """Flat mapping of tensors and arrays; `load_state_dict` restores it exactly."""
        out = state_of(self.parts())
        out |= {f"explorer.{m}": gen.get_state() for m, gen in enumerate(self.explorers)}
        counters = (self.env_step, int(self.switched), self.last_extra, self.updates)
        return out | {"counters": torch.tensor(counters)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state_dict`."""
        restore(self.parts(), state)
        for m, gen in enumerate(self.explorers):
            gen.set_state(state[f"explorer.{m}"])
        counters = [int(count) for count in state["counters"]]
        self.env_step, _, self.last_extra, self.updates = counters
        self.switched = bool(counters[1])


def build(cfg: PreferConfig, method: PreferenceMethod, envs: TaskEnvs) -> SACRun:
    """A run at its start. Member m depends on its own seed only, not on its neighbours."""
    env, seeds = envs.train, seeding.member_seeds(cfg.seed, cfg.members)
    device = {"device": cfg.device}
    assert isinstance(cfg.algo, sac.SACConfig)
    learner = sac.create(cfg.algo, env.obs_dim, env.act_dim, seeds, discrete=env.discrete, **device)
    capacity = -(-(cfg.buffer_size or cfg.total_steps) // env.rows) * env.rows
    width = env.obs_dim + env.beside_dim
    buffer = ReplayBuffer(env.members, capacity, width, env.act_dim, discrete=env.discrete, **device)
    explorers = [seeding.torch_generator(seed, "explore") for seed in seeds]
    asked = cfg.feedback(method.unlabelled(cfg.method))
    feedback = Feedback.create(asked, env, seeds) if method.learns_reward else None
    return SACRun(cfg, method, learner, buffer, feedback, explorers, env.rows, env.max_episode_steps)


# ------------------------------------------------------------------------------------------------------- steps


def crossed(before: int, after: int, every: int) -> bool:
    """Whether a multiple of `every` lies in (before, after]."""
    return after // every > before // every


def choose(run: SACRun, obs: Tensor, env: TaskEnv) -> Tensor:
    """Actions [M, N, A] (discrete: [M, N]) for obs [M, N, O]: random at first, then the policy's."""
    if run.env_step >= run.cfg.seed_steps:
        return sac.act(run.sac, obs.to(run.cfg.device)).cpu()
    if env.discrete:
        return torch.stack([torch.randint(env.act_dim, (env.rows,), generator=gen) for gen in run.explorers])
    return torch.stack([torch.rand(env.rows, env.act_dim, generator=gen) * 2 - 1 for gen in run.explorers])


def poll(run: SACRun) -> None:
    """The session or the look at answers that is due: a new reward for the replay; the first ends the pretraining."""
    if run.feedback is None:
        return
    sessions = run.feedback.sessions
    found = run.feedback.poll(run.env_step)
    if not found:
        return
    run.tally.add(found)
    run.relabel()
    if not run.switched:
        run.switched, run.last_extra = True, run.env_step
        renew_critic(run)
    elif run.feedback.sessions > sessions and run.method.renews_critic is not None and run.method.renews_critic(run):
        renew_critic(run)


def renew_critic(run: SACRun) -> None:
    """A new critic and target, and `reset_updates` gradient steps; the actor stays."""
    sac.reset_critic(run.sac)
    for _ in range(run.cfg.reset_updates):
        update(run)


def learn(run: SACRun, rows: int) -> None:
    """Whatever is due before the next step of `rows` environments per member: a session, updates."""
    if run.env_step < run.cfg.seed_steps or run.buffer.size == 0:
        return
    poll(run)
    rate = run.cfg.updates_per_step
    for _ in range(int((run.env_step + rows) * rate) - int(run.env_step * rate)):
        update(run)


def update(run: SACRun) -> None:
    """One gradient step, on novelty before the switch, on the learned or true reward after it."""
    if run.feedback is not None and not run.switched:
        batch = run.buffer.sample(run.sac.cfg.batch_size, run.sac.gens, time_limit=run.sac.cfg.time_limit)
        metrics = sac.update(run.sac, batch.narrowed(run.sac.obs_dim)._replace(rew=novelty(run, batch.obs)))
    else:
        taken = run.method.instead(run) if run.method.instead is not None else None
        metrics = sac.update(run.sac, sample(run).narrowed(run.sac.obs_dim)) if taken is None else taken
    run.updates += 1
    run.tally.add(metrics)


def sample(run: SACRun) -> ReplayBatch:
    """A batch with the rewards that the method wants learned."""
    recent = run.method.recent(run) if run.method.recent is not None else None
    batch = run.buffer.sample(run.sac.cfg.batch_size, run.sac.gens, recent, time_limit=run.sac.cfg.time_limit)
    if run.method.bonus is not None:
        batch = batch._replace(rew=batch.rew + run.method.bonus(run, batch))
    if run.feedback is None:
        return batch
    return batch._replace(rew=batch.rew - run.feedback.penalty(batch.obs, batch.act))


def novelty(run: SACRun, obs: Tensor) -> Tensor:
    """Distance of obs [M, B, O] to its k-th neighbour among all states seen, over its running deviation, [M, B]."""
    rew = knn_reward(obs[..., : run.sac.obs_dim], run.buffer.obs_view()[..., : run.sac.obs_dim], run.cfg.knn)
    run.novelty.update(rew)
    return run.novelty.normalise(rew)


def remember(run: SACRun, obs: Tensor, act: Tensor, step: TaskStep, env: TaskEnv) -> None:
    """Stores one step of every environment, and what it says about finished episodes."""
    known, rew = step.known(obs), step.judged
    if run.feedback is not None:
        run.feedback.record(known, act, step)
        counts = run.switched  # before, nothing reads it, and the switch replaces it
        rew = run.feedback.reward(known.to(run.cfg.device), act.to(run.cfg.device)) if counts else torch.zeros_like(rew)
    final = pad(step.final_obs, (0, env.beside_dim))  # what follows is not known yet, and only the learner reads it
    run.buffer.add(known, act, rew, final, step.terminated, step.truncated)
    run.episodes.add(step)


def tick(run: SACRun, env: TaskEnv) -> None:
    """One step of every environment and the learning that is due with it."""
    obs = env.observe()
    act = choose(run, obs, env)
    learn(run, env.rows)
    remember(run, obs, act, env.step(act), env)
    run.env_step += env.rows


# ------------------------------------------------------------------------------------------------------- train


def evaluate(act: Callable[[Tensor], Tensor], env: TaskEnv) -> dict[str, np.ndarray]:
    """One episode in every environment with act(obs [M, N, O]): means of each member, [M].

    They are of return and success, and of whatever else the task measures, where NaN leaves an episode out.
    """
    ret, success = torch.zeros(2, env.members, env.rows, dtype=torch.float64)
    measured: dict[str, Tensor] = {}
    open_ = torch.ones(env.members, env.rows, dtype=torch.bool)
    while bool(open_.any()):
        step = env.step(act(env.observe()))
        ret += torch.where(open_, step.rew, 0.0)
        for name, value in step.measured.items():
            measured[name] = measured.get(name, 0.0) + torch.where(open_, value.double(), 0.0)
        ended = open_ & (step.terminated | step.truncated)
        success = torch.where(ended, step.success.double(), success)
        open_ &= ~ended
    means = {"eval/return": ret.mean(1).numpy(), "eval/success": success.mean(1).numpy()}
    return means | {name: total.nanmean(1).numpy() for name, total in measured.items()}


def policy(run: SACRun) -> Callable[[Tensor], Tensor]:
    """What is evaluated: the actor's likeliest actions; in kitchens drawn ones, as `coord evaluate` draws them.

    (Two cooks who never waver may block each other for the rest of the game.)
    """
    is_kitchen = run.cfg.env == KITCHENS
    gens = [seeding.torch_generator(seed, "evaluation", run.env_step, device=run.cfg.device) for seed in run.sac.seeds]
    return lambda obs: sac.act(run.sac, obs.to(run.cfg.device), deterministic=not is_kitchen, gens=gens).cpu()


def policies(run: SACRun) -> list[dict[str, Tensor]]:
    """The tensors of each member's policy file, see `coord.control.policies`."""
    return [{name: tensor[m] for name, tensor in run.sac.actor.items()} for m in range(run.members)]


def nets(run: SACRun, env: KitchenTaskEnv) -> list[PopulationNet]:
    """The network of each member's agent file, for an ego of kitchens."""
    from coord.preference.learners.kitchen_files import index_net

    return [index_net(actor, env.kitchens) for actor in policies(run)]


def report(run: SACRun) -> dict[str, np.ndarray]:
    """Metrics [M] since the last report."""
    counts = run.feedback.report() if run.feedback is not None else {}
    return run.tally.take() | run.episodes.report() | counts


def train(run: SACRun, envs: TaskEnvs, hooks: Hooks | None = None) -> SACRun:
    """Until `total_steps` per member; continues from wherever `run` and `envs` are."""
    cfg, hooks = run.cfg, hooks or Hooks()
    while run.env_step < cfg.total_steps and not hooks.should_stop(run):
        before = run.env_step
        tick(run, envs.train)
        is_last = run.env_step >= cfg.total_steps
        found = {}
        if crossed(before, run.env_step, cfg.eval_every) or is_last:
            found = evaluate(policy(run), envs.evaluation)
        if found or crossed(before, run.env_step, cfg.log_every):
            hooks.on_update(run, report(run) | found)
    return run
