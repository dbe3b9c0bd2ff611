"""Feedback sessions: what has been seen, who is asked about it, and the reward that is learned from the answers.

One session: candidates are cut from the pool, the selector picks queries, they go to the label store, whoever answers
answers, and the reward model learns all labels that the store holds. The same for SAC and for PPO.

Queries are counted when they are asked, so the budget is never exceeded; skipped ones count as asked, as in B-Pref, and
are reported apart. The last session asks for what is left. The first one picks uniformly, whatever the selector.
A killed run asks the queries since its last checkpoint again; the store knows them by their number and keeps the answer
that it has.

People (`answerer=human`) answer whenever they like, in other processes, and training does not stop for them unless
`answer_wait_s` says so: every `answers_every` steps it looks whether the store has anything new, and if so learns all
of it; a session asks only for as many queries as are not already waiting, and each look keeps `ask_ahead` waiting while
the budget lasts. Until every member has `min_answers` answers nothing is learned and the pretraining goes on. A resumed
run keeps whatever was asked after its checkpoint, and learns what was answered meanwhile at its first look; so with
people, unlike with teachers, it does not repeat an unbroken run bit for bit.

Deviations from B-Pref: thresholds of teachers are scaled once per session, in every session alike.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor

from coord import memory, seeding
from coord.errors import Diverged
from coord.overcooked import load_layout
from coord.preference.labels import episodes, moments
from coord.preference.labels.answerers import Teacher
from coord.preference.labels.config import FeedbackConfig
from coord.preference.labels.queries import Chooser
from coord.preference.labels.segments import AnsweredPairs, Queries, SegmentPool
from coord.preference.labels.store import Answer, LabelStore, StoredLabels
from coord.preference.reward.constraint import Safety
from coord.preference.reward.crowds import Crowd
from coord.preference.reward.model import RewardModel
from coord.preference.reward.safety import safe_first
from coord.preference.tasks.kitchen_env import KitchenTaskEnv
from coord.preference.tasks.kitchen_teachers import sees_moves
from coord.preference.tasks.task_env import TaskEnv, TaskStep

MARGIN_EPISODES = 10  # the teacher's thresholds follow the mean return of this many episodes
RANK_PAIRS = 200  # pairs of recent segments that the rank correlation is taken over
POLL_S = 1.0  # between looks at the store while a person answers
RANK_EPISODES = 10  # the episodes that they come from
SCALE_EPISODES = 20  # newest episodes of a member over which predicted rewards are normalised
COUNTERS = ("asked", "sessions", "newest", "last_session", "last_look", "learned")
STORE_FILE = "labels.sqlite"
RUN_NAME = "run"  # a store of its own per run folder, so the name only has to be the same after a resume


@dataclass
class Feedback:
    """Episodes, labels and reward models of M members."""

    cfg: FeedbackConfig
    model: RewardModel
    crowd: Crowd
    pool: SegmentPool
    teachers: list[Teacher]  # one per member; a person answers through the store instead
    rngs: list[np.random.Generator]  # one per member: which segments, which queries
    max_episode_steps: int
    obs_dim: int
    act_dim: int  # numbers per action, or number of discrete actions
    discrete: bool
    store: LabelStore | None = None  # open it before the first session
    moments: StoredLabels | None = None  # of games, which every member learns, too
    safety: Safety | None = None  # None: no hazard is named
    asked: int = 0  # queries per member
    sessions: int = 0
    newest: int = 0  # queries of the last session, per member
    last_session: int = 0  # env step of it
    last_look: int = 0  # env step of the last look at what people have answered
    learned: int = 0  # the newest answer of people that has been learned, as the store counts them
    seeds: list[deque[tuple[int, int]]] = field(init=False)  # (number, seed) of each member's episodes in the pool
    labels: list[AnsweredPairs] = field(init=False)  # what the last session learned from
    answered: list[int] = field(init=False)  # queries of each member that these are about

    def __post_init__(self) -> None:
        self.seeds = [deque(maxlen=self.cfg.pool_episodes) for _ in self.rngs]
        self.labels, self.answered = [], []

    @staticmethod
    def create(cfg: FeedbackConfig, env: TaskEnv, seeds: list[int]) -> Feedback:
        """Nothing seen, nothing asked; member m depends on seeds[m] only."""
        obs_dim = env.obs_dim + env.beside_dim
        _check_memory(cfg, env, len(seeds))
        facts = env.obs_dim if cfg.task.sees_change else 0
        models: dict[str, Any] = {"unread": facts, "change": facts, "device": cfg.device}
        if facts and not sees_moves(cfg.task):  # actions; what else moves no thing is 0 in the change itself
            models["ignored"] = np.repeat([True, False, True], [env.beside_dim - facts, facts, env.act_dim])
        feedback = Feedback(
            cfg,
            RewardModel.create(cfg.reward, obs_dim, env.act_dim, seeds, **models),
            Crowd.create(cfg.crowd, cfg.reward, obs_dim, env.act_dim, seeds, **models),
            SegmentPool(len(seeds), cfg.pool_episodes),
            [Teacher(cfg.teacher, seeding.rng(seed, "teacher")) for seed in seeds],
            [seeding.rng(seed, "queries") for seed in seeds],
            env.max_episode_steps,
            obs_dim,
            env.act_dim,
            env.discrete,
        )
        parts = (feedback.model, feedback.judged, cfg.pool_episodes)
        if cfg.extra_labels:
            feedback.moments = _moments(cfg, env)
        feedback.safety = Safety.create(cfg.safety, env, *parts, seeds)
        return feedback

    @property
    def members(self) -> int:
        """M."""
        return len(self.rngs)

    @property
    def remaining(self) -> int:
        """Queries that the budget still allows each member."""
        return self.cfg.labels - self.asked

    def phase(self, switched: bool) -> str:
        """Where a run stands, in words; switched: its pretraining is over."""
        if not switched:
            return "pretraining, waiting for answers" if self.sessions else "pretraining"
        return "feedback" if self.remaining else "after the budget"

    @property
    def asks_people(self) -> bool:
        """Whether answers come when they come."""
        return self.cfg.answerer == "human"

    @property
    def judged(self) -> slice:
        """The steps of a stored segment that answers are about."""
        return slice(self.cfg.reward.crop_margin, self.cfg.reward.crop_margin + self.cfg.query.length)

    def features(self, act: Tensor) -> Tensor:
        """Actions as the reward model reads them: discrete ones as one-hot rows."""
        return torch.nn.functional.one_hot(act, self.act_dim).float() if self.discrete else act

    def reward(self, obs: Tensor, act: Tensor) -> Tensor:
        """Predicted reward [M, B]: the mean of the ensemble."""
        return self.model.reward(obs, self.features(act))

    def penalty(self, obs: Tensor, act: Tensor) -> Tensor | float:
        """What a learner is paid less for steps that people would call unsafe, [M, B]."""
        return 0.0 if self.safety is None else self.safety.penalty(obs, self.features(act))

    def record(self, obs: Tensor, act: Tensor, step: TaskStep) -> None:
        """One step of every environment: what queries are cut from."""
        ended = (step.terminated | step.truncated).numpy()
        played = None if step.played is None else step.played.numpy()
        self.pool.add(obs.numpy(), self.features(act).numpy(), step.judged.numpy(), ended, played, step.group)
        if self.safety is not None:
            self.safety.record(obs, self.features(act), step)
        for m, n in np.argwhere(ended):
            number = self.seeds[m][-1][0] + 1 if self.seeds[m] else 0
            self.seeds[m].append((number, int(step.seed[m, n])))

    # --------------------------------------------------------------------------------------------- sessions

    def poll(self, env_step: int) -> dict[str, Tensor]:
        """The session, or look at people's answers, that is due. Metrics [M]; {}: nothing was learned."""
        if env_step < self.cfg.begins_at:
            return {}
        is_first = not self.sessions and (self.remaining or not self.last_session)  # without labels: only once
        if is_first or (self.remaining and env_step - self.last_session >= self.cfg.session_every):
            return self.session(env_step)
        if self.asks_people and env_step - self.last_look >= self.cfg.answers_every:
            return self.look(env_step)
        return {}

    def session(self, env_step: int) -> dict[str, Tensor]:
        """Ask, wait for the answers, learn all labels. Metrics [M]; {}: people have said nothing new, or too little."""
        self._ask(self._missing(self.session_size(env_step)))
        self.last_session = self.last_look = env_step
        self._wait()
        return self._learn_new_answers() if self.asks_people else self.learn()

    def look(self, env_step: int) -> dict[str, Tensor]:
        """See that people have something to do, and learn what they have said since. Metrics [M]; {}: nothing."""
        self._ask(self._missing(self.cfg.ask_ahead))
        self.last_look = env_step
        return self._learn_new_answers()

    def session_size(self, env_step: int) -> int:
        """Queries of a session at that step: as scheduled (B-Pref's reward_schedule 0, 1, 2), within the budget."""
        share = env_step / self.cfg.total_steps
        factor = {"constant": 1.0, "falling": max(1 - share, 0.01), "rising": 1 / max(1 - share, 0.01)}
        return min(max(1, int(self.cfg.session_labels * factor[self.cfg.session_schedule])), self.remaining)

    def _missing(self, count: int) -> int:
        """How many queries bring those that wait for an answer to `count`, within the budget; teachers leave none."""
        waiting = min(self._waiting()) if self.asks_people else 0
        return max(0, min(count - waiting, self.remaining))

    def _waiting(self) -> list[int]:
        """Queries of each member that want more answers."""
        return [self._opened().counts(RUN_NAME, m).pending for m in range(self.members)]

    def _ask(self, count: int) -> None:
        """`count` new queries of every member: their episodes are kept before anybody can want to see them."""
        if not count:
            return
        chosen = [self._choose(m, count) for m in range(self.members)]
        played = [self._played(m, queries) for m, queries in enumerate(chosen)]
        folder = self._opened().path.parent
        episodes.save(folder, self.sessions, {key: one for part in played for key, one in part.items()})
        for m, queries in enumerate(chosen):
            self._put(m, queries)
        self.asked, self.newest = self.asked + count, count
        self.sessions += 1

    def _choose(self, m: int, count: int) -> Queries:
        """Queries of member m."""
        margin = self.cfg.reward.crop_margin
        chooser = Chooser(self.cfg.query, self.pool, lambda pairs: self.model.prob(m, pairs), margin, self._anchors(m))
        chosen = chooser.choose(m, count, self.rngs[m], first=self.sessions == 0)
        if self.safety is None:
            return chosen
        return self.safety.passes(m, chosen, lambda pairs: self.model.prob(m, pairs))

    def _put(self, m: int, chosen: Queries) -> None:
        """Store queries of member m, and let its teacher answer."""
        ids = self._opened().add_queries(
            RUN_NAME,
            m,
            chosen,
            first_number=self.asked,
            session=self.sessions,
            wanted=self.cfg.annotators_per_query if self.asks_people else 1,
            margin=self.cfg.reward.crop_margin,
            provenance=[self.cfg.task.about] * chosen.size,
        )
        if self.asks_people:
            return
        teacher, returns = self.teachers[m], self.pool.returns(m)[-MARGIN_EPISODES:]
        mean_return = float(returns.mean()) if len(returns) else 0.0
        teacher.set_margin(mean_return, self.cfg.query.length, self.max_episode_steps)
        target = teacher.answer(chosen.centre(self.cfg.query.length)).target
        self._opened().add_answers(self._answers(m, ids, chosen, target))

    def _answers(self, m: int, ids: list[int], chosen: Queries, target: np.ndarray) -> list[Answer]:
        """What member m's teacher says: its preferences target [n], and warnings where it is asked for them."""
        name = f"teacher:{self.cfg.teacher.kind}"
        if self.safety is None:
            return [Answer(query=i, annotator=name, target=float(t)) for i, t in zip(ids, target, strict=True)]
        unsafe, reasons = self.safety.warn(m, chosen)
        rows = zip(ids, safe_first(target, unsafe).tolist(), unsafe.tolist(), reasons, strict=True)
        return [Answer(query=i, annotator=name, target=t, unsafe=tuple(u), reasons=r) for i, t, u, r in rows]

    def _played(self, m: int, queries: Queries) -> dict[tuple[int, int], episodes.Played]:
        """The complete episodes that queries of member m were cut from."""
        seeds, wanted = dict(self.seeds[m]), set(queries.episode.ravel().tolist())
        found = [episode for episode in self.pool.episodes(m) if episode.number in wanted]
        acts = [episode.act if episode.played is None else episode.played for episode in found]
        return {(m, e.number): episodes.Played(seeds[e.number], act) for e, act in zip(found, acts, strict=True)}

    def _anchors(self, m: int) -> np.ndarray:
        """Observations of the pairs that member m has labels for, [N, 2, L, O]."""
        if not self.labels or not self.labels[m].size:
            return np.zeros((0, 2, self.cfg.query.length, self.obs_dim), np.float32)
        return self.labels[m].obs[:, :, self.judged]

    def _unlabelled(self) -> list[AnsweredPairs] | None:
        """Pairs for pseudo-labels, as many per query of a session as the method wants."""
        per_label = self.cfg.unlabelled_per_label
        if not per_label:
            return None
        count, length = per_label * self.cfg.session_labels, self.cfg.reward.stored_length(self.cfg.query.length)
        drawn = [self.pool.sample_pairs(m, count, length, self.rngs[m]) for m in range(self.members)]
        return [AnsweredPairs(pairs.obs, pairs.act, np.full(count, np.nan, np.float32)) for pairs in drawn]

    def _stored(self, m: int) -> StoredLabels:
        """What the store holds for the queries asked so far, and what people said of moments of games."""
        stored = self._opened().labels(RUN_NAME, m, before=self.asked)
        if not stored.labels.size:
            length = self.cfg.reward.stored_length(self.cfg.query.length)
            stored = replace(stored, labels=AnsweredPairs.empty(length, self.obs_dim, self.act_dim))
        if self.moments is not None:
            stored = moments.join_stored([stored, self.moments])
        return stored if self.safety is None else replace(stored, labels=self.safety.strengthened(m, stored))

    def _wait(self) -> None:
        """Until people have answered, or the patience of the configuration is over."""
        deadline = time.monotonic() + self.cfg.answer_wait_s
        while self.asks_people and time.monotonic() < deadline and any(self._waiting()):
            time.sleep(POLL_S)

    def open(self, folder: Path) -> LabelStore:
        """Opens the label store of a run folder."""
        self.store = LabelStore(folder / STORE_FILE)
        self._catch_up()
        return self.store

    def _catch_up(self) -> None:
        """What people were asked stays asked, even where a killed run no longer knows of it."""
        if self.asks_people:
            number, session = self._opened().next_free(RUN_NAME)
            self.asked, self.sessions = max(self.asked, number), max(self.sessions, session)

    def _opened(self) -> LabelStore:
        if self.store is None:
            raise RuntimeError("open the label store before the first session")
        return self.store

    def _learn_new_answers(self) -> dict[str, Tensor]:
        """Learns where people have said something new, and enough of it to begin with."""
        store = self._opened()
        if store.last_answer() == self.learned:
            return {}
        fewest = min(store.counts(RUN_NAME, m).labelled for m in range(self.members))
        return self.learn() if self.learned or fewest >= self.cfg.min_answers else {}

    def learn(self) -> dict[str, Tensor]:
        """Train the reward model on all labels of the queries asked so far. Metrics [M]."""
        self.learned = self._opened().last_answer() if self.asks_people else 0  # first: what comes now is new later
        stored = [self._stored(m) for m in range(self.members)]
        if self.cfg.reward.scale_inputs and not self.model.is_scaled:  # once: rewards keep their meaning
            seen = [self.pool.episodes(m, running=True) for m in range(self.members)]
            self.model.learn_scale([np.concatenate([episode.obs for episode in own]) for own in seen])
        result = self.crowd.fit(self.model, self._taught(stored), self._unlabelled())
        self._keep(stored)
        if self.cfg.reward.normalise:
            self.model.learn_units([self.recent_steps(m) for m in range(self.members)])
        if not bool(torch.isfinite(self.model.flat).all()):
            raise Diverged("the reward model is not finite")
        found = {
            "reward/accuracy": result.accuracy,
            "reward/loss": result.loss,
            "reward/passes": result.passes,
            "reward/steps": result.steps,
            "reward/rank_correlation": self.rank_correlation(),
        }
        if self.cfg.reward.holdout:
            found["reward/holdout_accuracy"] = result.holdout_accuracy
        return found

    def _taught(self, stored: list[StoredLabels]) -> list[StoredLabels]:
        """What the reward model learns: the labels, and what follows from warnings."""
        if self.safety is None:
            return stored
        taught = self.safety.learn([part.labels for part in stored])
        return [replace(part, labels=labels) for part, labels in zip(stored, taught, strict=True)]

    def _keep(self, stored: list[StoredLabels]) -> None:
        self.labels = [self.crowd.seen_as(m, part) for m, part in enumerate(stored)]
        self.answered = [len(np.unique(part.number[part.number >= 0])) for part in stored]

    def supervised_step(self) -> dict[str, Tensor]:
        """One Adam step on up to `reward.batch_size` labels of each member, outside of a session."""
        batch = self.label_batch(self.cfg.reward.batch_size)
        if batch is None:
            return {}
        grads, loss = self.model.grads_of_preference_loss(*batch)
        self.model.apply(grads)
        return {"reward/loss": loss.mean(1)}

    def label_batch(self, count: int) -> tuple[Tensor, Tensor, Tensor] | None:
        """obs [M, n, 2, L, O], act [M, n, 2, L, A], target [M, n] of random labels; None if a member has none.

        n = count, or fewer: the member with the fewest labels decides.
        """
        count = min(count, *(labels.size for labels in self.labels)) if self.labels else 0
        if not count:
            return None
        own = list(zip(self.labels, self.rngs, strict=True))
        picked = [labels.select(rng.choice(labels.size, count, replace=False)) for labels, rng in own]
        arrays = (
            np.stack([p.obs[:, :, self.judged] for p in picked]),
            np.stack([p.act[:, :, self.judged] for p in picked]),
            np.stack([p.target for p in picked]),
        )
        obs, act, target = (torch.from_numpy(array).to(self.cfg.device) for array in arrays)
        return obs, act, target

    def recent_steps(self, m: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Observations [n, O] and actions [n, A] of the member's newest episodes."""
        recent = self.pool.episodes(m, last=SCALE_EPISODES) or self.pool.episodes(m, running=True)
        return np.concatenate([one.obs for one in recent]), np.concatenate([one.act for one in recent])

    def rank_correlation(self) -> Tensor:
        """Spearman's correlation of predicted and true returns over segments of recent episodes, [M]."""
        found = [self._rank_correlation(m) for m in range(self.members)]
        return torch.tensor(found)

    def _rank_correlation(self, m: int) -> float:
        rng = seeding.rng(self.cfg.task.seed, "rank", m, self.sessions)
        drawn = self.pool.sample_pairs(m, RANK_PAIRS, self.cfg.query.length, rng, last=RANK_EPISODES)
        rows = (torch.from_numpy(array).flatten(0, 2)[None] for array in (drawn.obs, drawn.act))
        with torch.no_grad():
            pred = self.model.select(m).reward(*rows).cpu().view(drawn.rew.shape).sum(2).flatten()
        true = drawn.rew.sum(2).ravel()
        if np.ptp(true) == 0 or np.ptp(pred.numpy()) == 0:
            return float("nan")  # all alike: there is no order
        return float(spearmanr(pred.numpy(), true).statistic)

    def report(self) -> dict[str, np.ndarray]:
        """Counts [M]: queries asked, answers, skipped."""
        labels = np.array([labels.size for labels in self.labels] or [0] * self.members)
        answered = np.array(self.answered or [0] * self.members)
        asked, found = np.full(self.members, self.asked), {}
        if self.safety is not None:
            asked, found = asked - self.safety.withheld, self.safety.report()
        return {"reward/asked": asked, "reward/labels": labels, "reward/skipped": asked - answered} | found

    # ----------------------------------------------------------------------------------------------- saving

    def state_dict(self) -> dict[str, Tensor | np.ndarray]:
        """Everything but the labels, which are in the store; `load_state_dict` restores it exactly."""
        out: dict[str, Any] = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        out |= {f"pool.{k}": v for k, v in self.pool.state_dict().items()}
        out |= {f"crowd.{k}": v for k, v in self.crowd.state_dict().items()}
        if self.safety is not None:
            out |= {f"safety.{k}": v for k, v in self.safety.state_dict().items()}
        out |= {f"seeds.{m}": torch.tensor(list(seeds)).view(-1, 2) for m, seeds in enumerate(self.seeds)}
        memory = {
            "model": self.model.rng_state(),
            "teachers": [teacher.state_dict() for teacher in self.teachers],
            "rngs": [seeding.get_state(rng) for rng in self.rngs],
            "crowd": self.crowd.memory(),
            **{name: getattr(self, name) for name in COUNTERS},
        }
        return out | {"memory": as_bytes(memory)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state_dict`; reads the labels from the store, which must be open."""
        self.model.load_state_dict(_under(state, "model."))
        self.pool.load_state_dict({k: v.numpy() for k, v in _under(state, "pool.").items()})
        self.crowd.load_state_dict(_under(state, "crowd."))
        if self.safety is not None:
            self.safety.load_state_dict(_under(state, "safety."))
        for m, seeds in enumerate(self.seeds):
            seeds.clear()
            seeds.extend((int(number), int(seed)) for number, seed in state[f"seeds.{m}"].tolist())
        memory = json.loads(state["memory"].numpy().tobytes())
        self.model.load_rng_state(memory["model"])
        for teacher, part in zip(self.teachers, memory["teachers"], strict=True):
            teacher.load_state_dict(part)
        for rng, part in zip(self.rngs, memory["rngs"], strict=True):
            seeding.set_state(rng, part)
        self.crowd.load_memory(memory["crowd"])
        for name in COUNTERS:
            setattr(self, name, int(memory[name]))
        self._catch_up()
        if self.sessions:
            self._keep([self._stored(m) for m in range(self.members)])


def _check_memory(cfg: FeedbackConfig, env: TaskEnv, members: int) -> None:
    """UserError if the episodes kept to ask about cannot be held."""
    row = env.obs_dim + env.beside_dim + env.act_dim + 1
    episodes = members * cfg.pool_episodes
    size = episodes * env.max_episode_steps * row * memory.FLOAT
    memory.check({f"{episodes} episodes to ask about": size}, "lower members or pool_episodes")


def _moments(cfg: FeedbackConfig, env: TaskEnv) -> StoredLabels:
    """What people said of moments of games; read when a run starts or goes on."""
    length = cfg.reward.stored_length(cfg.query.length)
    run = moments.run_name(load_layout(str(cfg.task.layout)), cfg.task.rules, length)
    assert isinstance(env, KitchenTaskEnv)

    def changed(change: NDArray[np.float32]) -> NDArray[np.float32]:
        return env.changed(torch.from_numpy(change)).numpy()

    sight = moments.Sight(env.obs_dim, env.beside_dim, cfg.task.sees_partner, cfg.task.sees_change, changed)
    return moments.labels(cfg.extra_labels, run, length, sight, env.act_dim)


def as_bytes(value: Any) -> Tensor:
    """A JSON value as a tensor of bytes, to be saved among tensors."""
    return torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)


def _under(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}
