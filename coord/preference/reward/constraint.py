"""A limit on what people call unsafe: a cost learned from their flags, and a multiplier that makes the learner heed it.

The cost network gives every step a number c in (0, 1); a segment is called unsafe with probability
sigmoid(sum c_hat - b), c_hat = 2 b c, so that one step with c = 1 makes it as sure (sigmoid(b)) as none makes the
opposite. Sums of c are therefore numbers of unsafe steps, the unit of the limit d. The learner gets r - lambda c, and
at the end of every episode lambda <- [lambda + eta (J - d)]_+ with J its sum of c (Tessler, Mankowitz and Mannor 2019).

The penalty is part of the reward instead of a second critic with its own values: critics are linear in the reward, so
that both stand for one Lagrangian; this one needs no second network, serves SAC and PPO alike, and on SAC costs are
predicted anew for every batch, so that a moved multiplier or a better cost network counts at once for all that was ever
seen. Its price is a critic that has to follow lambda, which therefore moves once per episode and by little.

Deviations: J is what the network predicts, not what happened, because nobody counts for it; lambda has a ceiling, for a
limit that cannot be met would raise it for ever.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from coord import seeding
from coord.errors import UserError
from coord.preference.labels.queries import disagreement
from coord.preference.labels.segments import AnsweredPairs, Queries, SegmentPool, join_labels
from coord.preference.labels.store import StoredLabels
from coord.preference.reward import safety
from coord.preference.reward.model import RewardConfig, RewardModel
from coord.preference.reward.safety import Familiarity, SafetyConfig
from coord.preference.tasks.task_env import TaskStep

RECENT_EPISODES = 10  # the window of `rollout/cost`


@runtime_checkable
class CountsEvents(Protocol):
    """A task that says what happened in its last step."""

    event_names: tuple[str, ...]  # K
    events: Any  # [M, N, K] how often each happened


# ------------------------------------------------------------------------------------------------ arithmetic


def unsafe_probability(cost: Tensor, offset: float) -> Tensor:
    """sigmoid(sum c_hat - b) with c_hat = 2 b c: cost [..., L] of steps in (0, 1), b = offset."""
    return (2 * offset * cost.sum(-1) - offset).sigmoid()


def unsafe_loss(cost: Tensor, unsafe: Tensor, offset: float) -> Tensor:
    """Mean binary cross-entropy in nats; cost [n, L], unsafe [n] 0 or 1."""
    return F.binary_cross_entropy_with_logits(2 * offset * cost.sum(-1) - offset, unsafe)


def unsafe_loss_slope(cost: Tensor, unsafe: Tensor, offset: float) -> Tensor:
    """Its derivative by every step's cost, [n, L]."""
    slope = (unsafe_probability(cost, offset) - unsafe) * (2 * offset / len(unsafe))
    return slope[:, None].expand_as(cost)


def moved(multiplier: float, cost: float, cfg: SafetyConfig) -> float:
    """[lambda + eta (J - d)]_+, at most the ceiling; cost: J."""
    return min(max(multiplier + cfg.multiplier_lr * (cost - cfg.limit), 0.0), cfg.multiplier_max)


def create_cost_model(cfg: SafetyConfig, inputs: int, length: int, seeds: Sequence[int], device: str) -> RewardModel:
    """One network per member on rows of `inputs` numbers, which starts undecided about segments of `length` steps."""
    config = RewardConfig(ensemble=1, hidden=cfg.cost_hidden, output="sigmoid", lr=cfg.cost_lr)
    model = RewardModel.create(config, inputs, 0, [seeding.derive(seed, "cost") for seed in seeds], device=device)
    share = 1 / (2 * length)
    model.params["head.bias"].fill_(math.log(share / (1 - share)))
    return model


def fit_cost(
    model: RewardModel, rows: Tensor, unsafe: Tensor, cfg: SafetyConfig, rng: np.random.Generator
) -> dict[str, float]:
    """Train the cost of a model of one member on segments rows [n, L, I], flags [n]; loss and accuracy afterwards."""
    for _ in range(cfg.cost_steps):
        picked = torch.from_numpy(rng.integers(len(rows), size=min(cfg.cost_batch, len(rows))))
        x, flags = rows[picked], unsafe[picked]
        cost, pull = model.pullback(*_split(x))
        slope = unsafe_loss_slope(cost.view(x.shape[:2]), flags, cfg.offset)
        model.apply(pull(slope.reshape(1, -1)))
    cost = model.reward(*_split(rows)).view(rows.shape[:2])
    right = (unsafe_probability(cost, cfg.offset) > 0.5) == (unsafe > 0.5)
    return {"loss": float(unsafe_loss(cost, unsafe, cfg.offset)), "accuracy": float(right.float().mean())}


def _split(x: Tensor) -> tuple[Tensor, Tensor]:
    """Rows [n, L, I] as one member's observations [1, n L, I] and no actions: the inputs are joined already."""
    flat = x.flatten(0, 1)[None]
    return flat, flat[..., :0]


# ----------------------------------------------------------------------------------------------------- state


@dataclass
class Safety:
    """What a run knows about danger: true events (for teachers and figures), flags, learned costs, multipliers."""

    cfg: SafetyConfig
    env: CountsEvents
    model: RewardModel  # the cost of each member
    rngs: list[np.random.Generator]  # one per member
    rows: int  # N, environments per member
    judged: slice  # the steps of a stored segment that answers are about
    pool: SegmentPool  # per step and hazard what truly happened, its sum as reward
    trained: bool = False  # the cost network has learned from flags
    flags: list[np.ndarray] = field(init=False)  # [n, 2] of each member's labels
    metrics: dict[str, np.ndarray] = field(default_factory=dict)  # of the last session, [M]

    def __post_init__(self) -> None:
        members = len(self.rngs)
        self._columns = safety.columns(self.cfg.hazards, self.env.event_names)
        self._strengths = safety.parse_strengths(self.cfg.reason_strengths)
        self.multiplier = torch.full((members,), self.cfg.multiplier)
        self.visits = [Familiarity(self.cfg.gate_cell) for _ in range(members)]
        self.flags = [np.zeros((0, 2), bool) for _ in range(members)]
        self.violations = np.zeros(members)  # true ones, so far
        self.withheld = np.zeros(members)  # queries that the gate did not let pass
        self._running = torch.zeros(2, members, self.rows, dtype=torch.float64)  # true and predicted, this episode
        self._ended: list[deque[float]] = [deque(maxlen=RECENT_EPISODES) for _ in range(members)]  # true costs

    @staticmethod
    def create(
        cfg: SafetyConfig, env: Any, reward: RewardModel, judged: slice, pool_episodes: int, seeds: Sequence[int]
    ) -> Safety | None:
        """Nothing seen; None where no hazard is named, and then nothing changes anywhere.

        reward: the run's reward model, whose device the cost network shares.

        Raises:
            UserError: the task counts no events, or not this one.
        """
        if not cfg.hazards:
            return None
        inputs = env.obs_dim + env.beside_dim + env.act_dim  # all that is stored; a reward may leave some unread
        if not isinstance(env, CountsEvents):
            raise UserError(
                f"safety.hazards={','.join(cfg.hazards)}: this task counts no events; env=island and env=overcooked do"
            )
        model = create_cost_model(cfg, inputs, judged.stop - judged.start, seeds, str(reward.flat.device))
        rngs = [seeding.rng(seed, "safety") for seed in seeds]
        return Safety(cfg, env, model, rngs, np.shape(env.events)[1], judged, SegmentPool(len(seeds), pool_episodes))

    # ---------------------------------------------------------------------------------------------- playing

    def record(self, obs: Tensor, features: Tensor, step: TaskStep) -> None:
        """Take in the step that the task just made: obs [M, N, O], features [M, N, A] as the cost reads them."""
        happened = self._happened()
        ended = (step.terminated | step.truncated).numpy()
        nothing = np.zeros((*ended.shape, 0), np.float32)
        self.pool.add(happened, nothing, happened.sum(-1), ended)
        self.violations += happened.sum((1, 2))
        self._running[0] += torch.from_numpy(happened.sum(-1))
        if self.trained and self.cfg.constraint:
            self._running[1] += self.cost(obs, features).cpu()
        for m, n in np.argwhere(ended):
            self._finish(int(m), int(n))

    def _happened(self) -> np.ndarray:
        """[M, N, hazards] of the last step."""
        events = np.asarray(self.env.events, np.float32)
        return np.stack([events[..., columns].sum(-1) for columns in self._columns], -1)

    def _finish(self, m: int, n: int) -> None:
        """An episode is over: the multiplier of its member moves."""
        true, predicted = self._running[:, m, n].tolist()
        self._ended[m].append(true)
        if self.trained and self.cfg.constraint:
            self.multiplier[m] = moved(float(self.multiplier[m]), predicted, self.cfg)
        self._running[:, m, n] = 0.0

    def cost(self, obs: Tensor, features: Tensor) -> Tensor:
        """Predicted c [M, B] of steps; arguments as the reward model reads them."""
        return self.model.reward(obs.to(self.model.flat), features.to(self.model.flat))

    def penalty(self, obs: Tensor, features: Tensor) -> Tensor | float:
        """lambda c [M, B]; 0 until people have flagged something, and without the constraint."""
        if not (self.trained and self.cfg.constraint):
            return 0.0
        return self.multiplier.to(self.model.flat)[:, None] * self.cost(obs, features)

    # ---------------------------------------------------------------------------------------------- queries

    def passes(self, m: int, queries: Queries, prob: Callable[[Queries], np.ndarray]) -> Queries:
        """Those of a session's queries that the gate lets through; prob: [E, n] by each network of the ensemble."""
        if self.cfg.gate == 1.0:
            return queries
        obs = queries.obs[:, :, self.judged]
        asked = safety.gate(obs, disagreement(prob(queries)), self.visits[m], self.cfg.gate, self.rngs[m])
        self.withheld[m] += int((~asked).sum())
        return queries.select(asked)

    def warn(self, m: int, queries: Queries) -> tuple[np.ndarray, list[tuple[str, ...]]]:
        """A scripted teacher's flags [n, 2] and reasons: what truly happened in the judged steps."""
        played = {episode.number: episode.obs for episode in self.pool.episodes(m, running=True)}
        found = np.zeros((queries.size, 2, len(self.cfg.hazards)))
        for i, side in np.ndindex(queries.size, 2):
            start = int(queries.start[i, side])
            steps = played[int(queries.episode[i, side])][start + self.judged.start : start + self.judged.stop]
            found[i, side] = steps.sum(0)
        reasons = [
            tuple(name for name, count in zip(self.cfg.hazards, pair.sum(0), strict=True) if count) for pair in found
        ]
        return found.sum(2) > 0, reasons

    # ----------------------------------------------------------------------------------------------- labels

    def strengthened(self, m: int, stored: StoredLabels) -> AnsweredPairs:
        """The member's labels with targets as strong as their reasons; remembers the flags for `learn`."""
        self.flags[m] = stored.unsafe
        if self.cfg.flags == "none":
            return stored.labels
        target = safety.strengthen(
            stored.labels.target.astype(float),
            stored.unsafe,
            stored.reasons,
            strong=self.cfg.strong,
            weak=self.cfg.weak,
            strengths=self._strengths,
        )
        return stored.labels._replace(target=target.astype(np.float32))

    def learn(self, labels: Sequence[AnsweredPairs]) -> list[AnsweredPairs]:
        """Train the costs on the flags; the labels that the reward model learns: these, and the pairs they imply."""
        members = range(len(labels))
        fits = [self._fit(m, labels[m]) for m in members] if self.cfg.constraint else [{} for _ in members]
        self.trained = self.trained or any(fits)
        taught = [self._extended(m, labels[m]) for m in members]
        self.metrics = {
            "reward/unsafe": np.array([self.flags[m].sum() for m in members], float),
            "reward/implied": np.array(
                [after.size - before.size for after, before in zip(taught, labels, strict=True)]
            ),
        }
        if any(fits):
            for name in ("loss", "accuracy"):
                self.metrics[f"reward/cost_{name}"] = np.array([fit.get(name, math.nan) for fit in fits])
        return taught

    def _fit(self, m: int, labels: AnsweredPairs) -> dict[str, float]:
        if not labels.size:
            return {}
        parts = (torch.from_numpy(array[:, :, self.judged]).flatten(0, 1) for array in (labels.obs, labels.act))
        rows = torch.cat(list(parts), -1).to(self.model.flat)
        unsafe = torch.from_numpy(self.flags[m].reshape(-1)).to(self.model.flat)
        return fit_cost(self.model.select(m), rows, unsafe, self.cfg, self.rngs[m])

    def _extended(self, m: int, labels: AnsweredPairs) -> AnsweredPairs:
        if self.cfg.flags != "implied" or not labels.size:
            return labels
        count, strong = self.cfg.implied_pairs, self.cfg.strong
        more = safety.implied_labels(labels, self.flags[m], count, self.rngs[m], strong)
        return join_labels([labels, more])

    # ----------------------------------------------------------------------------------------------- saving

    def report(self) -> dict[str, np.ndarray]:
        """Metrics [M]."""
        found = {
            "rollout/violations": self.violations.copy(),
            "rollout/cost": np.array([np.mean(costs) if costs else np.nan for costs in self._ended]),
        } | self.metrics
        if self.cfg.constraint:
            found["train/multiplier"] = self.multiplier.numpy().copy()
        return found if self.cfg.gate == 1.0 else found | {"reward/withheld": self.withheld.copy()}

    def state_dict(self) -> dict[str, Any]:
        """Everything but the flags, which are in the store, as flat tensors and arrays."""
        out: dict[str, Any] = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        out |= {f"pool.{k}": v for k, v in self.pool.state_dict().items()}
        for m, visits in enumerate(self.visits):
            out |= {f"visits.{m}.{k}": v for k, v in visits.state_dict().items()}
            out[f"ended.{m}"] = torch.tensor(list(self._ended[m]), dtype=torch.float64)
        rngs = json.dumps([seeding.get_state(rng) for rng in self.rngs]).encode()
        out |= {f"metrics.{k}": torch.as_tensor(v) for k, v in self.metrics.items()}
        out |= {"violations": torch.tensor(self.violations), "withheld": torch.tensor(self.withheld)}
        out |= {"multiplier": self.multiplier, "running": self._running, "trained": torch.tensor(int(self.trained))}
        return out | {"rngs": torch.frombuffer(bytearray(rngs), dtype=torch.uint8)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state_dict`."""
        parts: dict[str, dict[str, Tensor]] = {}
        for name, tensor in state.items():
            part, _, key = name.partition(".")
            parts.setdefault(part, {})[key] = tensor
        self.model.load_state_dict(parts["model"])
        self.pool.load_state_dict({k: v.numpy() for k, v in parts["pool"].items()})
        for m, visits in enumerate(self.visits):
            visits.load_state_dict({k: parts["visits"][f"{m}.{k}"] for k in ("keys", "counts")})
            self._ended[m] = deque(state[f"ended.{m}"].tolist(), maxlen=RECENT_EPISODES)
        for rng, part in zip(self.rngs, json.loads(state["rngs"].numpy().tobytes()), strict=True):
            seeding.set_state(rng, part)
        self.metrics = {k: v.numpy().copy() for k, v in parts.get("metrics", {}).items()}
        self.violations, self.withheld = (state[name].numpy().copy() for name in ("violations", "withheld"))
        self.multiplier, self._running = state["multiplier"].clone(), state["running"].clone()
        self.trained = bool(state["trained"])
