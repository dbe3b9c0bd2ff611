"""Learning from human feedback in three steps: imitation, a reward from comparisons, PPO held near the imitation.

1. Imitation of the human games (`coord.preference.learners.imitation`) gives pi_0.
2. pi_0 plays with partners; segments of these games are compared; a reward model r_hat learns from the answers.
3. PPO from pi_0 on (r_hat - mean) / std - beta log(pi / pi_0), beta steered by the divergence
(`coord.preference.learners.kl`).
   Mean and deviation are those of recent games when the model last learned. At first only the value's own weights
   learn, so that the policy does not leave pi_0 for the noise of an untrained value. If labels are kept back, the
   current policy's games are compared too, and the model refreshed.

This is the scheme of Christiano et al. (2017), Ibarz et al. (2018) and Ziegler et al. (2019) for a cook with partners.
The task reward is never learned from: not even the shaping reward. Everything that a step changes is in its state, so a
killed step goes on bit for bit.

Deviations: Ziegler et al. start the reward model from the language model; ours reads other observations than the policy
and starts afresh. They normalise rewards once, on samples of pi_0; a refreshed model is normalised again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coord import seeding
from coord.algos import ppo
from coord.nets.population import PopulationNet, sample_actions
from coord.preference.labels.answerers import Teacher, TeacherConfig
from coord.preference.labels.feedback import Feedback
from coord.preference.labels.segments import labelled
from coord.preference.learners import kl
from coord.preference.learners.imitation import StepBudget
from coord.preference.learners.kitchen_ppo import Rows
from coord.preference.learners.kl import Coefficient, KLConfig
from coord.preference.learners.tally import restore, state_of
from coord.preference.learners.warm_start import learn
from coord.rollout import Rollout
from coord.types import NUM_ACTIONS

JUDGED_PAIRS = 500  # unseen pairs of segments that a reward model is judged on


# ------------------------------------------------------------------------------------- 2: a reward from comparisons


@dataclass
class RewardTraining:
    """The second step: pi_0 plays, its games are compared, the reward model learns."""

    cfg: StepBudget
    policy: PopulationNet  # pi_0, frozen
    feedback: Feedback
    gens: list[torch.Generator]  # one per member: action draws
    env_step: int = 0

    @staticmethod
    def create(policy: PopulationNet, feedback: Feedback, env: Rows, seeds: list[int]) -> RewardTraining:
        """Nothing played; one game in every kitchen comes before each session."""
        cfg = feedback.cfg
        sessions = -(-cfg.labels // cfg.session_labels)
        budget = StepBudget(sessions * env.env.max_episode_steps * env.rows)
        gens = [seeding.torch_generator(seed, "comparison") for seed in seeds]
        return RewardTraining(budget, policy.requires_grad_(False), feedback, gens)

    @property
    def members(self) -> int:
        """M."""
        return len(self.gens)

    def state_dict(self) -> dict[str, Tensor | np.ndarray]:
        """Flat mapping; `load_state_dict` restores it exactly, with the label store open."""
        gens = {f"gen.{m}": gen.get_state() for m, gen in enumerate(self.gens)}
        return state_of({"feedback": self.feedback}) | gens | {"env_step": torch.tensor(self.env_step)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state_dict`."""
        restore({"feedback": self.feedback}, state)
        for m, gen in enumerate(self.gens):
            gen.set_state(state[f"gen.{m}"])
        self.env_step = int(state["env_step"])


@torch.no_grad()
def play_games(policy: PopulationNet, env: Rows, gens: list[torch.Generator]) -> Tensor:
    """One game in every kitchen, from its start, by the policies' own play; mean task return [M].

    Whoever learns from these games is told tick by tick (`env.on_step`).
    """
    ticks = env.env.max_episode_steps
    uniform = torch.stack([torch.rand(ticks, env.rows, generator=gen) for gen in gens], 1)  # [T, M, N]
    for t in range(ticks):
        env.step(sample_actions(policy(env.observe())[0], uniform[t])[0])
        env.seen.clear()  # nobody learns from single ticks here
    return torch.from_numpy(env.finished().ret).view(env.members, env.rows).mean(1)


def compare(state: RewardTraining, env: Rows, hooks: ppo.Hooks) -> RewardTraining:
    """Until the budget of this step is spent; continues from wherever `state` and `env` are."""
    while state.feedback.remaining and not hooks.should_stop(state):
        ret = play_games(state.policy, env, state.gens)
        state.env_step += env.env.max_episode_steps * env.rows
        metrics: dict[str, Any] = state.feedback.session(state.env_step)
        hooks.on_update(state, metrics | state.feedback.report() | {"rollout/return": ret})
    return state


def reward_scale(feedback: Feedback) -> Tensor:
    """[2, M] mean and standard deviation of the predicted reward of a step in recent games; 1 where it is constant."""
    return feedback.model.units_over([feedback.recent_steps(m) for m in range(feedback.members)])


def judge_reward(judged: Feedback, policy: PopulationNet, env: Rows, seeds: list[int]) -> dict[str, Tensor]:
    """How well the reward models of `judged` order games that they have not seen: those of pi_0 with other partners.

    env: one of its own; a game is played in each of its kitchens.
    Returns: `accuracy` [M], the share of unequal pairs of segments ordered as a teacher without faults does, and
    `rank_correlation` [M] of the segments' predicted and judged returns; NaN where all are alike.
    """
    fresh = Feedback.create(judged.cfg, env.env, seeds)
    fresh.model, env.on_step = judged.model, fresh.record
    play_games(policy, env, [seeding.torch_generator(seed, "judge reward") for seed in seeds])
    length, teacher = judged.cfg.query.length, TeacherConfig(ties="equal")
    accuracy = []
    for m, seed in enumerate(seeds):
        rng = seeding.rng(seed, "judge reward")
        pairs = fresh.pool.sample_pairs(m, JUDGED_PAIRS, judged.cfg.reward.stored_length(length), rng)
        target = Teacher(teacher, rng).answer(pairs.centre(length)).target
        accuracy.append(judged.model.accuracy(m, labelled(pairs, target)))
    return {"accuracy": torch.tensor(accuracy), "rank_correlation": fresh.rank_correlation()}


# ------------------------------------------------------------------------------------------------------ 3: PPO


@dataclass(frozen=True, kw_only=True)
class TuningConfig:
    """What the third step is told. value_updates: rollouts at the start from which the value alone learns;
    refresh_every: environment steps between sessions, as long as the budget of labels lasts.
    """

    kl: KLConfig
    value_updates: int
    refresh_every: int


@dataclass
class Tuning:
    """What the third step remembers beside PPO's own state."""

    cfg: TuningConfig
    reference: PopulationNet  # pi_0, frozen
    feedback: Feedback
    scale: Tensor  # [2, M] see `reward_scale`
    kl: Coefficient = field(init=False)
    last_session: int = 0
    found: dict[str, Any] = field(default_factory=dict)  # metrics [M] of the last rollout

    def __post_init__(self) -> None:
        self.reference.requires_grad_(False)
        self.kl = Coefficient(self.cfg.kl, self.reference.members)
        self.is_frozen = not self.feedback.remaining  # the reward model learns nothing any more

    def _parts(self) -> dict[str, Any]:
        return {"kl": self.kl} if self.is_frozen else {"kl": self.kl, "feedback": self.feedback}

    def state_dict(self) -> dict[str, Tensor | np.ndarray]:
        """Flat mapping; `load_state_dict` restores it exactly."""
        return state_of(self._parts()) | {"scale": self.scale, "last_session": torch.tensor(self.last_session)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state_dict`."""
        restore(self._parts(), state)
        self.scale, self.last_session = state["scale"].clone(), int(state["last_session"])


@torch.no_grad()
def pay(tuning: Tuning, state: ppo.PPOState, roll: Rollout, seen: Tensor) -> None:
    """Gives a rollout the rewards that its policy learns from; beta then follows the divergence.

    seen [T, M, N, O]: what the reward model reads of the rollout.
    """
    ticks = seen.shape[0]
    obs, act, inner = (x.transpose(0, 1).flatten(1, 2) for x in (seen, roll.act, roll.obs))  # [M, T*N, ...]
    mean, std = tuning.scale[..., None]  # [M, 1] each
    rew = (tuning.feedback.reward(obs, act) - mean) / std  # [M, T*N]
    logp = roll.logp.transpose(0, 1).flatten(1, 2)
    logits, ref_logits = (net.outputs(inner)[..., :NUM_ACTIONS] for net in (state.net, tuning.reference))
    divergence = kl.divergence(logits, ref_logits).mean(1)  # [M]
    beta = tuning.kl.value
    paid = rew - beta[:, None] * kl.log_ratio(logp, ref_logits, act)
    roll.rew = paid.unflatten(1, (ticks, -1)).transpose(0, 1).contiguous()
    roll.shaped_rew.zero_()  # a programmed reward as well
    tuning.found = {"reward/kl": divergence, "reward/kl_coef": beta, "reward/predicted": rew.mean(1)}
    tuning.kl.update(divergence)


def refresh(tuning: Tuning, env_step: int) -> None:
    """A feedback session about the current policy, if one is due."""
    if tuning.is_frozen or not tuning.feedback.remaining or env_step - tuning.last_session < tuning.cfg.refresh_every:
        return
    tuning.found |= tuning.feedback.session(env_step) | tuning.feedback.report()
    tuning.scale, tuning.last_session = reward_scale(tuning.feedback), env_step


def tune(tuning: Tuning, state: ppo.PPOState, env: Rows, hooks: ppo.Hooks) -> ppo.PPOState:
    """PPO to the end of its budget; continues from wherever `tuning`, `state` and `env` are."""

    def on_rollout(state: ppo.PPOState, roll: Rollout) -> None:
        pay(tuning, state, roll, torch.stack(env.seen))
        env.seen.clear()

    def on_update(state: ppo.PPOState, metrics: dict[str, Any]) -> None:
        refresh(tuning, state.env_step)
        hooks.on_update(state, metrics | tuning.found)

    own = replace(hooks, on_rollout=on_rollout, on_update=on_update)
    return ppo.train(state, env, own, learn=partial(learn, value_updates=tuning.cfg.value_updates))
