"""PrefPPO: preference learning with PPO, the learner of Christiano et al. (2017) in B-Pref's setting (Lee et al. 2021).

Pretraining on the entropy of states, a new value network at the switch, then rollouts whose rewards the model predicts;
feedback sessions fall between rollouts. Nothing is relabelled: a rollout is used once, with the model of its time.
Populations, labels, budget and resuming are as in `coord.preference.learners.sac`, and checkpoints are taken between
rollouts.

Deviations from B-Pref: the reward model reads raw observations, not ones normalised by drifting statistics, and the
action as the task executes it (clipped); sessions fall on the first rollout's end after they are due; those of
`coord.algos.ppo_gaussian`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from coord import seeding
from coord.algos import ppo_gaussian as ppo
from coord.algos.ppo import Hooks
from coord.preference.config import PreferConfig
from coord.preference.labels.feedback import Feedback
from coord.preference.learners.intrinsic import RunningStd, knn_reward
from coord.preference.learners.run import LearnerRun
from coord.preference.learners.sac import crossed, evaluate
from coord.preference.learners.tally import EpisodeLog, Tally, restore, state_of
from coord.preference.methods.method import PreferenceMethod
from coord.preference.tasks.task_env import TaskEnv, TaskEnvs
from coord.rollout import Rollout


@dataclass
class PrefPPORun(LearnerRun):
    """Everything that training changes, except the environments."""

    PARTS = ("ppo", "feedback", "novelty", "tally", "episodes")

    cfg: PreferConfig
    ppo: ppo.PPOContinuousState
    feedback: Feedback
    rows: int  # N, environments per member
    seen: Tensor  # [M, S, O] states of the pretraining
    novelty: RunningStd = field(init=False)
    tally: Tally = field(default_factory=Tally)
    episodes: EpisodeLog = field(init=False)
    env_step: int = 0  # per member
    switched: bool = False

    def __post_init__(self) -> None:
        self.novelty = RunningStd(self.members)
        self.episodes = EpisodeLog(self.members, self.rows)

    @property
    def members(self) -> int:
        """M."""
        return len(self.ppo.seeds)

    def state_dict(self) -> dict[str, Tensor | np.ndarray]:
        """Flat mapping of tensors and arrays; `load_state_dict` restores it exactly."""
        counters = torch.tensor((self.env_step, int(self.switched)))
        return state_of(self.parts()) | {"seen": self.seen, "counters": counters}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state_dict`."""
        restore(self.parts(), state)
        self.seen = state["seen"].clone()
        self.env_step, switched = (int(count) for count in state["counters"])
        self.switched = bool(switched)


def build(cfg: PreferConfig, method: PreferenceMethod, envs: TaskEnvs) -> PrefPPORun:
    """A run at its start. Member m depends on its own seed only, not on its neighbours."""
    env, seeds = envs.train, seeding.member_seeds(cfg.seed, cfg.members)
    assert isinstance(cfg.method, ppo.PPOContinuousConfig)
    state = ppo.create(cfg.method, env.obs_dim, env.act_dim, seeds)
    feedback = Feedback.create(cfg.feedback(), env, seeds)
    return PrefPPORun(cfg, state, feedback, env.rows, torch.zeros(env.members, 0, env.obs_dim))


def allocate(env: TaskEnv, rollout_len: int) -> Rollout:
    """An empty rollout of T steps."""
    shape = (rollout_len, env.members, env.rows)
    logp, val, final_val, rew, shaped_rew = (torch.zeros(shape) for _ in range(5))
    terminated, truncated = (torch.zeros(shape, dtype=torch.bool) for _ in range(2))
    obs, act = torch.zeros(*shape, env.obs_dim), torch.zeros(*shape, env.act_dim)
    return Rollout(obs, act, logp, val, final_val, rew, shaped_rew, terminated, truncated, torch.zeros(shape[1:]))


@torch.no_grad()
def collect(run: PrefPPORun, env: TaskEnv, roll: Rollout) -> Tensor:
    """Fills a rollout but for its rewards, by the policy's own play; the raw observations [T, M, N, O]."""
    state, raw = run.ppo, torch.empty_like(roll.obs)
    for t in range(len(roll.obs)):
        raw[t] = env.observe()
        state.norm.update(raw[t])
        roll.obs[t] = state.norm(raw[t])
        roll.act[t], roll.logp[t] = ppo.act(state, roll.obs[t])
        roll.val[t] = ppo.value(state.params, roll.obs[t])
        done = env.step(roll.act[t].clamp(-1, 1))
        roll.terminated[t], roll.truncated[t] = done.terminated, done.truncated
        if bool(done.truncated.any()):
            roll.final_val[t] = ppo.value(state.params, state.norm(done.final_obs))
        run.feedback.record(raw[t], roll.act[t].clamp(-1, 1), done)
        run.episodes.add(done)
    roll.last_val = ppo.value(state.params, state.norm(env.observe()))
    return raw


@torch.no_grad()
def reward(run: PrefPPORun, raw: Tensor, act: Tensor) -> Tensor:
    """Rewards [T, M, N] of raw obs [T, M, N, O] and executed actions: novelty before the switch, then the model's."""
    obs, act = (x.transpose(0, 1).flatten(1, 2) for x in (raw, act))  # [M, T*N, ...]
    if run.switched:
        rew = run.feedback.reward(obs, act) - run.feedback.penalty(obs, act)
    else:
        run.seen = torch.cat([run.seen, obs], 1)
        distance = knn_reward(obs, run.seen, run.cfg.knn)
        run.novelty.update(distance)
        rew = run.novelty.normalise(distance)
    return rew.unflatten(1, raw.shape[:1] + raw.shape[2:3]).transpose(0, 1)


def poll(run: PrefPPORun) -> None:
    """The session or the look at answers that is due; the first that teaches anything ends the pretraining."""
    found = run.feedback.poll(run.env_step)
    if found and not run.switched:
        run.switched, run.seen = True, run.seen[:, :0]
        ppo.reset_value(run.ppo)
    run.tally.add(found)


def policy(run: PrefPPORun) -> Callable[[Tensor], Tensor]:
    """What is evaluated: the mean action, clipped to the task's range."""
    return lambda obs: ppo.act(run.ppo, run.ppo.norm(obs), deterministic=True)[0].clamp(-1, 1)


def policies(run: PrefPPORun) -> list[dict[str, Tensor]]:
    """The tensors of each member's policy file, see `coord.control.policies`."""
    actor = ppo.part(run.ppo.params, "actor")
    mean, std = run.ppo.norm.mean, (run.ppo.norm.var + 1e-8).sqrt()
    found = []
    for m in range(run.members):
        found.append({k: v[m] for k, v in actor.items()} | {"norm.mean": mean[m], "norm.std": std[m]})
    return found


def train(run: PrefPPORun, envs: TaskEnvs, hooks: Hooks | None = None) -> PrefPPORun:
    """Until `total_steps` per member; continues from wherever `run` and `envs` are."""
    cfg, own, hooks = run.cfg, run.ppo.cfg, hooks or Hooks()
    roll = allocate(envs.train, own.rollout_len)
    while run.env_step < cfg.total_steps and not hooks.should_stop(run):
        before = run.env_step
        raw = collect(run, envs.train, roll)
        roll.rew = reward(run, raw, roll.act.clamp(-1, 1))
        epochs = own.num_epochs if run.switched else own.pretraining_epochs
        run.tally.add(ppo.update(run.ppo, roll, progress=before / cfg.total_steps, epochs=epochs))
        run.env_step += own.rollout_len * run.rows
        poll(run)
        metrics = run.tally.take() | run.episodes.report() | run.feedback.report()
        if crossed(before, run.env_step, cfg.eval_every) or run.env_step >= cfg.total_steps:
            metrics |= evaluate(policy(run), envs.evaluation)
        hooks.on_update(run, metrics)
    return run
