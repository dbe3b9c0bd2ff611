"""Preference learning in kitchens with PPO (`learner=ppo`): the ego plays with its partners, rollouts are paid by the
reward model, and Meta-Reward-Net's bilevel step goes through the value targets
(`coord.preference.methods.mrn.value_meta`).

PPO is `coord.algos.ppo` as it is, on the observations that suit it; the reward model reads those of the task
(`KitchenTaskEnv`). Pretraining is paid by novelty, feedback sessions fall between rollouts, and a rollout is used once,
with the reward model of its time: there is no replay to relabel. Predicted rewards have mean 0 and deviation 1 since
the last session before `algo.rew_scale` multiplies them, because PPO, unlike SAC with its own temperature, depends on
their scale; all games end by the clock, so a constant changes no preference among policies. The first session gives
the value function a new head. Populations, labels, budget and resuming are as in `coord.preference.learners.sac`;
checkpoints are taken between rollouts.

With `init_from` the egos begin as agents (`coord.preference.learners.warm_start`) that know how to cook, say from
imitation:
there is no pretraining, and before the policy moves the first sessions ask about it as it is, while the value learns.

`method=true_reward` is the same PPO on the reward that the teacher judges by, with the shaping reward of
`coord train` falling to zero over `algo.shaping_horizon`; what is learned from labels never sees shaping.

Deviations from B-Pref's PrefPPO, beside those of `coord.preference.learners.prefppo`: novelty is the distance to a
thinned sample of the last states seen; evaluation draws actions from the policy, as `coord evaluate` does, because two
deterministic cooks block each other for good.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from coord import seeding
from coord.algos import ppo
from coord.algos.ppo import Hooks, PPOConfig, PPOState
from coord.errors import UserError
from coord.nets.population import PopulationNet, sample_actions
from coord.partner_env import Episodes, RowStep
from coord.preference.config import PreferConfig
from coord.preference.labels.feedback import Feedback
from coord.preference.learners import warm_start
from coord.preference.learners.intrinsic import RunningStd, knn_reward
from coord.preference.learners.run import LearnerRun
from coord.preference.learners.sac import crossed, evaluate
from coord.preference.learners.tally import EpisodeLog, Tally, restore, state_of
from coord.preference.methods.method import PreferenceMethod, check_learner
from coord.preference.methods.mrn import value_meta as vm
from coord.preference.methods.mrn.mrn import MRN, Rule
from coord.preference.methods.mrn.pairs import LabelBatch
from coord.preference.reward import nets as rn
from coord.preference.tasks.kitchen_env import KitchenTaskEnv
from coord.preference.tasks.task_env import TaskEnvs, TaskStep
from coord.rollout import Rollout, advantages, allocate, collect
from coord.types import NUM_ACTIONS

SEEN_STATES = 4096  # per member, that novelty is measured against: the newest
SEEN_PER_ROLLOUT = 512  # at most, evenly spread over it
VALUE = NUM_ACTIONS  # the row of the heads that is the value


# ------------------------------------------------------------------------------------------------------- rows


class Rows:
    """A `KitchenTaskEnv` as the `RowEnv` that PPO collects from; keeps what the reward model reads."""

    def __init__(self, env: KitchenTaskEnv, obs_kind: str, on_step: Callable[[Tensor, Tensor, TaskStep], None]) -> None:
        """obs_kind: what the policy reads; on_step: told what the reward model reads, the action, what it brought."""
        self.env, self.obs_kind, self.on_step = env, obs_kind, on_step
        self.members, self.rows, self.kitchens = env.members, env.rows, env.rows
        self.seen: list[Tensor] = []  # [M, N, O + E] of every tick since it was last emptied

    def observe(self) -> Tensor:
        """See `RowEnv.observe`: as the policy reads it."""
        return policy_obs(self.env, self.obs_kind)

    def final_observe(self) -> Tensor:
        """See `RowEnv.final_observe`."""
        return policy_obs(self.env, self.obs_kind, final=True)

    def step(self, act: Tensor) -> RowStep:
        """See `RowEnv.step`; the reward is what the teacher judges by."""
        obs = self.env.observe()
        done = self.env.step(act)
        self.seen.append(done.known(obs))
        self.on_step(self.seen[-1], act, done)
        return RowStep(done.judged, self.env.shaped_rew, done.terminated, done.truncated)

    def finished(self) -> Episodes:
        """See `RowEnv.finished`."""
        return self.env.env.finished()

    def get_state(self) -> dict[str, np.ndarray]:
        """See `RowEnv.get_state`."""
        return self.env.get_state()

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """See `RowEnv.set_state`."""
        self.env.set_state(state)


def policy_obs(env: KitchenTaskEnv, kind: str, *, final: bool = False) -> Tensor:
    """What the egos see [M, N, ...] as observations of that kind: index, features or lossless."""
    view = env.env.final_view if final else env.env.view
    own = torch.from_numpy(getattr(view, kind)()[env.env.learners])
    return own.view(env.members, env.rows, *own.shape[1:])


# ------------------------------------------------------------------------------------------------------ state


@dataclass
class KitchenPPORun(LearnerRun):
    """Everything that training changes, except the environments."""

    PARTS = ("ppo", "feedback", "extra", "novelty", "scale", "tally", "episodes")

    cfg: PreferConfig
    ppo: PPOState
    feedback: Feedback | None  # None: the true reward is given
    obs_dim: int  # O, numbers of an observation; the reward model may read E more
    facts: Tensor  # [O] the rows of the policy's table that they stand for
    rows: int  # N, kitchens per member
    judges: list[torch.Generator]  # one per member: actions in evaluation
    extra: MRN | None = None
    seen: Tensor = field(init=False)  # [M, S, O] states of the pretraining
    novelty: RunningStd = field(init=False)
    scale: RunningStd = field(init=False)  # of the predicted rewards since the last session
    tally: Tally = field(default_factory=Tally)
    episodes: EpisodeLog = field(init=False)
    switched: bool = False

    def __post_init__(self) -> None:
        self.seen = torch.zeros(self.members, 0, self.obs_dim)
        self.novelty, self.scale = RunningStd(self.members), RunningStd(self.members)
        self.episodes = EpisodeLog(self.members, self.rows)

    @property
    def members(self) -> int:
        """M."""
        return self.ppo.members

    @property
    def env_step(self) -> int:
        """Steps of each member so far."""
        return self.ppo.env_step

    @property
    def learns(self) -> bool:
        """Whether rollouts move the policy: one that begins as another waits for the first answers, if any come."""
        return self.feedback is None or not self.cfg.init_from or (self.switched and self.cfg.labels > 0)

    def state_dict(self) -> dict[str, Tensor | np.ndarray]:
        """Flat mapping of tensors and arrays; `load_state_dict` restores it exactly."""
        out = state_of(self.parts()) | {f"judge.{m}": gen.get_state() for m, gen in enumerate(self.judges)}
        return out | {"seen": self.seen, "switched": torch.tensor(int(self.switched))}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state_dict`."""
        restore(self.parts(), state)
        for m, gen in enumerate(self.judges):
            gen.set_state(state[f"judge.{m}"])
        self.seen = state["seen"].clone()
        self.switched = bool(state["switched"])


def check(cfg: PreferConfig, method: PreferenceMethod) -> None:
    """Raise UserError for settings that PPO in kitchens does not know, beside `coord.preference.learners.check`."""
    check_learner(method, cfg.method, "ppo")
    for inner, own in (("total_steps", "total_steps"), ("num_envs", "envs_per_member")):
        if (given := getattr(cfg.algo, inner)) != getattr(PPOConfig(), inner):
            raise UserError(f"algo.{inner}={given}: coord prefer has a field of its own for it, {own}")


def build(
    cfg: PreferConfig, method: PreferenceMethod, envs: TaskEnvs, start: PopulationNet | None = None
) -> KitchenPPORun:
    """A run at its start. Member m depends on its own seed and on the partners' draws, which are shared.

    start: policies that the members begin as, one each; None: fresh ones.

    Raises:
        UserError: see `check`.
    """
    check(cfg, method)
    env, seeds = envs.train, seeding.member_seeds(cfg.seed, cfg.members)
    assert isinstance(env, KitchenTaskEnv)
    assert isinstance(cfg.algo, PPOConfig)
    kitchens = env.env.env
    algo = replace(cfg.algo, total_steps=cfg.total_steps, num_envs=cfg.envs_per_member)
    arch = ppo.make_arch(algo, kitchens)
    if start is not None and start.arch != arch:
        theirs, own = (f"{one.kind} of widths {list(one.hidden)}" for one in (start.arch, arch))
        raise UserError(f"init_from={cfg.init_from} is {theirs}, this run's network {own} (algo.network, algo.hidden)")
    state = ppo.create(algo, arch, seeds) if start is None else warm_start.start_from(algo, start, seeds)
    judges = [seeding.torch_generator(seed, "evaluation") for seed in seeds]
    asked = cfg.feedback(method.unlabelled(cfg.method))
    feedback = Feedback.create(asked, env, seeds) if method.learns_reward else None
    run = KitchenPPORun(cfg, state, feedback, env.obs_dim, torch.from_numpy(env.facts), env.rows, judges)
    if feedback is not None and (steps := method.bilevel(cfg.method)) is not None:
        vm.check(state.net.arch)
        run.extra = MRN(steps, feedback.model, seeds)
    return run


# -------------------------------------------------------------------------------------------------- rewards


def per_member(x: Tensor) -> Tensor:
    """[T, M, N, ...] -> [M, T*N, ...]."""
    return x.transpose(0, 1).flatten(1, 2)


def in_time(x: Tensor, steps: int) -> Tensor:
    """[M, T*N] -> [T, M, N]: the inverse of `per_member`."""
    return x.unflatten(1, (steps, -1)).transpose(0, 1)


def predicted(run: KitchenPPORun, known: Tensor, act: Tensor) -> Tensor:
    """The reward model's rewards [M, T*N]; known [T, M, N, O + E] is what it reads, act [T, M, N]."""
    assert run.feedback is not None
    return run.feedback.reward(per_member(known), per_member(act))


def normalised_reward(run: KitchenPPORun, rew: Tensor, known: Tensor, act: Tensor) -> Tensor:
    """What the ego is paid [T, M, N]: `predicted` rewards with mean 0 and deviation 1, less the price of hazards."""
    assert run.feedback is not None
    rew = (rew - run.scale.mean[:, None].float()) / run.scale.std[:, None].float()
    return in_time(rew - run.feedback.penalty(per_member(known), per_member(act)), len(known))


def explore(run: KitchenPPORun, known: Tensor) -> Tensor:
    """Novelty [T, M, N] of the states known [T, M, N, O + E]: their distance to the nearest of those seen before."""
    rows = per_member(known[..., : run.obs_dim])
    thinned = rows[:, :: -(-rows.shape[1] // SEEN_PER_ROLLOUT)]
    run.seen = torch.cat([run.seen, thinned], 1)[:, -SEEN_STATES:]
    distance = knn_reward(rows, run.seen, run.cfg.knn)
    run.novelty.update(distance)
    return in_time(run.novelty.normalise(distance), len(known))


def pay(run: KitchenPPORun, roll: Rollout, known: Tensor, before: int) -> None:
    """Gives a rollout its rewards, after the bilevel step if one is due.

    known: [T, M, N, O + E] what the reward model reads of it; before: steps before it.
    """
    if run.feedback is None or not run.learns:
        return
    roll.shaped_rew.zero_()
    if not run.switched:
        roll.rew = explore(run, known)
        return
    rew = predicted(run, known, roll.act)
    run.scale.update(rew)
    if run.extra is not None and run.extra.is_due(before, run.env_step, run.feedback.remaining > 0):
        bilevel(run, run.extra, roll, known, rew)
        rew = predicted(run, known, roll.act)
    roll.rew = normalised_reward(run, rew, known, roll.act)


def bilevel(run: KitchenPPORun, mrn: MRN, roll: Rollout, known: Tensor, rew: Tensor) -> None:
    """Moves the reward model by the preference loss of the values that its rewards lead to; rew: `predicted`."""
    feedback, cfg, net = run.feedback, run.ppo.cfg, run.ppo.net
    assert feedback is not None
    labels = mrn.draw_labels(feedback.labels, feedback.newest, feedback.judged)
    if labels is None:
        return
    paid = normalised_reward(run, rew, known, roll.act) * cfg.rew_scale
    _, ret = advantages(roll, paid, cfg.gamma, cfg.gae_lambda, str(mrn.config.time_limit))
    facts, ended = known[..., : run.obs_dim], roll.terminated | roll.truncated
    inner = vm.ValueInnerStep(facts, ret, ended, cfg.lr, cfg.gamma * cfg.gae_lambda)
    pairs = vm.outer(ends(labels, run.obs_dim), mrn.config.score, cfg.gamma)
    rule = Rule(temperature=mrn.config.temperature or 0.0)
    value = vm.value_network(net, run.facts)
    by_rew, loss = vm.reward_gradient(value, inner, pairs, rule, mrn.config.inner_steps)
    share = mrn.config.outer_weight * cfg.rew_scale / run.scale.std[:, None].float()
    meta = feedback.model.vjp(per_member(known), feedback.features(per_member(roll.act)), per_member(by_rew) * share)
    run.tally.add({"reward/outer_loss": loss} | mrn.move(feedback.model, rn.flatten(meta), labels))


def ends(labels: LabelBatch, obs_dim: int) -> vm.Labelled:
    """The first and last states of labelled segments, of which the learner reads the first obs_dim numbers."""
    obs = labels.obs[..., :obs_dim]
    return vm.Labelled(obs[:, :, :, 0], obs[:, :, :, -1], obs.shape[3] - 1, labels.target)


# ------------------------------------------------------------------------------------------------- sessions


def poll(run: KitchenPPORun) -> None:
    """The session or the look at answers that is due; the first that teaches anything ends the pretraining."""
    found = run.feedback.poll(run.env_step) if run.feedback is not None else {}
    if not found:
        return
    if not run.switched:
        run.switched, run.seen = True, run.seen[:, :0]
        reset_value(run.ppo)
    run.tally.add(found)
    run.scale = RunningStd(run.members)


@torch.no_grad()
def reset_value(state: PPOState) -> None:
    """A value head of zeros, without moments; policy and trunk stay."""
    for name, tensor in state.net.tensors().items():
        if name.startswith("head."):
            key = name.replace(".", "_")
            for part in (tensor, state.optim.mean[key], state.optim.var[key]):
                part[:, VALUE] = 0.0


# ---------------------------------------------------------------------------------------------------- train


def policy(run: KitchenPPORun, env: KitchenTaskEnv) -> Callable[[Tensor], Tensor]:
    """What is evaluated in `env`: actions drawn from the policy."""

    def act(_: Tensor) -> Tensor:
        with torch.no_grad():
            logits = run.ppo.net(policy_obs(env, run.ppo.net.obs_kind))[0]
        uniform = torch.stack([torch.rand(env.rows, generator=gen) for gen in run.judges])
        return sample_actions(logits, uniform)[0]

    return act


def watch(run: KitchenPPORun) -> Callable[[Tensor, Tensor, TaskStep], None]:
    """What is remembered of every step."""

    def on_step(known: Tensor, act: Tensor, done: TaskStep) -> None:
        run.episodes.add(done)
        if run.feedback is not None:
            run.feedback.record(known, act, done)

    return on_step


def nets(run: KitchenPPORun, env: KitchenTaskEnv) -> list[PopulationNet]:
    """Each member's network, as an agent's file holds it."""
    return [run.ppo.net.select([m]) for m in range(run.members)]


def report(run: KitchenPPORun) -> dict[str, np.ndarray]:
    """Metrics [M] since the last report."""
    counts = run.feedback.report() if run.feedback is not None else {}
    return run.tally.take() | run.episodes.report() | counts


def train(run: KitchenPPORun, envs: TaskEnvs, hooks: Hooks | None = None) -> KitchenPPORun:
    """Until `total_steps` per member; continues from wherever `run` and `envs` are."""
    assert isinstance(envs.train, KitchenTaskEnv)
    assert isinstance(envs.evaluation, KitchenTaskEnv)
    cfg, state, hooks = run.cfg, run.ppo, hooks or Hooks()
    rows = Rows(envs.train, state.net.obs_kind, watch(run))
    roll = allocate(rows, state.cfg.rollout_len)
    while run.env_step < cfg.total_steps and not hooks.should_stop(run):
        before = run.env_step
        collect(state.net, rows, state.gens, roll, lambda _: None)
        state.env_step += state.cfg.rollout_len * rows.kitchens
        pay(run, roll, torch.stack(rows.seen), before)
        rows.seen.clear()
        if run.learns:
            run.tally.add(warm_start.learn(state, roll, value_updates=cfg.value_updates if cfg.init_from else 0))
        poll(run)
        found = {}
        if crossed(before, run.env_step, cfg.eval_every) or run.env_step >= cfg.total_steps:
            found = evaluate(policy(run, envs.evaluation), envs.evaluation)
        if found or crossed(before, run.env_step, cfg.log_every):
            hooks.on_update(run, report(run) | found)
    return run
