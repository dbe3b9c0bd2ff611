"""Does a model of annotators find out who is who, and does the reward gain by it? Synthetic crowds with known truth.

Crowds (`CROWDS`): four reliable annotators, two careless and one adversarial with the same wish; two groups with
opposite wishes; two groups whose wishes have nothing to do with each other. An annotator with reliability b says what
the model of `coord.preference.reward.annotators` says, of true gaps scaled to a root mean square of `GAP_RMS`: who is
reliable
(b = 1) is right on about six of seven unequal answers, careless is b = .1, adversarial b = -1. All equal thresholds are
`TIE`. Every query goes to a few annotators drawn at random; queries and answers go through a real label store, rewards
are learned by the real reward model.

Ways to learn from them (`WAYS`): everything pooled; the majority's answer to each query; a reliability per annotator; a
mixture of two groups; and, as what could be had at best, the answers of the reliable members of one group alone, which
takes knowing who they are.

What is measured, per repetition with rewards, people and queries of its own: Spearman's correlation of predicted and
wished-for returns of segments never asked about, and the share of such pairs in the right order, both for the reward
that a way ascribes to each reliable annotator (that of their group, turned round where their reliability is negative)
and averaged over these; and how many annotators are called what they are.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from coord import seeding
from coord.errors import UserError
from coord.preference.labels.segments import AnsweredPairs, Queries
from coord.preference.labels.store import Answer, LabelStore, StoredLabels
from coord.preference.reward import annotators as an
from coord.preference.reward.annotators import MixtureConfig, ReliabilityConfig
from coord.preference.reward.crowds import Crowd
from coord.preference.reward.model import RewardConfig, RewardModel
from coord.stats import bootstrap_ci, mean

OBS, ACT, STEPS = 4, 2, 6  # of the made-up task and its segments
GAP_RMS, TIE = 3.0, 0.25
HELD_OUT = 400  # pairs that rewards are judged by
REWARD = RewardConfig(ensemble=3, hidden=(32, 32), batch_size=64, lr=2e-3, train_amount=30, stop_accuracy=1.0)
BASELINES = ("pooled", "majority")
BEST = "known"  # the way that cannot be beaten, because it knows who is who
METRICS = ("rank_correlation", "accuracy")


class Person(NamedTuple):
    """One made-up annotator."""

    kind: str
    wish: int  # whose reward they want
    reliability: float


RELIABLE, OTHER = Person("reliable", 0, 1.0), Person("reliable", 1, 1.0)
CROWDS: dict[str, tuple[Person, ...]] = {
    "careless": (*[RELIABLE] * 4, *[Person("careless", 0, 0.1)] * 2, Person("adversarial", 0, -1.0)),
    "opposite": (*[RELIABLE] * 4, *[OTHER] * 3),
    "different": (*[RELIABLE] * 4, *[OTHER] * 3),
}
Wish = Callable[[Queries], NDArray[np.float64]]


class Repetition(NamedTuple):
    """One repetition: queries asked and answered, and pairs to judge by."""

    people: tuple[Person, ...]
    stored: StoredLabels
    held: Queries
    gaps: NDArray[np.float64]  # [2, HELD_OUT] true gaps of both wishes
    returns: NDArray[np.float64]  # [2, 2 * HELD_OUT] wished-for returns of all their segments
    seed: int


def make_wishes(crowd: str, rng: np.random.Generator) -> tuple[Wish, Wish]:
    """Two functions from queries to returns [n, 2]: small random networks, or one and its opposite."""
    first, second = _wish(rng), _wish(rng)
    return (first, lambda queries: -first(queries)) if crowd == "opposite" else (first, second)


def _wish(rng: np.random.Generator) -> Wish:
    inner, outer = rng.normal(size=(OBS + ACT, 8)) / 2, rng.normal(size=8)

    def returns(queries: Queries) -> NDArray[np.float64]:
        rows = np.concatenate([queries.obs, queries.act], axis=3).astype(np.float64)
        return (np.tanh(rows @ inner) @ outer).sum(2)

    return returns


def make_queries(count: int, rng: np.random.Generator) -> Queries:
    """Pairs of segments that stay near a place of their own."""
    place = rng.normal(size=(count, 2, 1, OBS + ACT))
    rows = (place + 0.5 * rng.normal(size=(count, 2, STEPS, OBS + ACT))).astype(np.float32)
    origin = np.zeros((count, 2), np.int64)
    return Queries(rows[..., :OBS], rows[..., OBS:], np.zeros(rows.shape[:3], np.float32), origin, origin)


def say(gap: NDArray[np.float64], person: Person, rng: np.random.Generator) -> NDArray[np.float64]:
    """Answers [n] to true gaps [n]: 1 second, 0 first, .5 equal."""
    ask = (np.exp(an.log_prob(gap, np.full(len(gap), t), person.reliability, TIE)) for t in (1.0, 0.0))
    second, first = ask
    drawn = rng.random(len(gap))
    return np.where(drawn < second, 1.0, np.where(drawn < second + first, 0.0, an.EQUAL))


def make_setting(store: LabelStore, crowd: str, queries: int, per_query: int, seed: int) -> Repetition:
    """Asks, has everybody answer through the store, and reads the labels back."""
    rng = seeding.rng(seed, "crowd", crowd)
    wishes = make_wishes(crowd, rng)
    asked, held = make_queries(queries, rng), make_queries(HELD_OUT, rng)
    asked_returns, returns = (np.stack([wish(part) for wish in wishes]) for part in (asked, held))  # [2, n, 2]
    scale = GAP_RMS / np.sqrt(np.square(np.diff(asked_returns)).mean((1, 2)))  # [2]
    gaps = np.diff(asked_returns)[..., 0] * scale[:, None]
    people, run = CROWDS[crowd], f"{crowd}-{seed}"
    ids = np.array(store.add_queries(run, 0, asked, first_number=0, session=0, wanted=per_query))
    asked_whom = rng.permuted(np.tile(np.arange(len(people)), (queries, 1)), axis=1)[:, :per_query]
    for a, person in enumerate(people):
        own = (asked_whom == a).any(1)
        said = say(gaps[person.wish, own], person, rng)
        name = f"{a}-{person.kind}"
        store.add_answers(
            [Answer(query=int(i), annotator=name, target=float(t)) for i, t in zip(ids[own], said, strict=True)]
        )
    return Repetition(people, store.labels(run, 0), held, np.diff(returns)[..., 0], returns.reshape(2, -1), seed)


class Learned(NamedTuple):
    """What a way makes of all repetitions of a crowd."""

    models: list[RewardModel]  # one per group, a member per repetition
    group: list[NDArray[np.int64]]  # per repetition, the group of each annotator [A]
    sign: list[NDArray[np.float64]]  # per repetition, [A] -1 where the reward is turned round
    kinds: list[list[str]] | None = None  # what annotators are called
    reliability: list[NDArray[np.float64]] | None = None  # [A] each


def _model(settings: Sequence[Repetition]) -> RewardModel:
    return RewardModel.create(REWARD, OBS, ACT, [setting.seed for setting in settings])


def _plain(settings: Sequence[Repetition], labels: Sequence[AnsweredPairs]) -> RewardModel:
    model = _model(settings)
    model.fit(labels)
    return model


def _alike(settings: Sequence[Repetition], models: list[RewardModel], wished: bool = False) -> Learned:
    """Everybody has the first group, or that of their wish."""
    group = [np.array([person.wish * wished for person in setting.people]) for setting in settings]
    return Learned(models, group, [np.ones(len(setting.people)) for setting in settings])


def pooled(settings: Sequence[Repetition]) -> Learned:
    """Every answer counts the same."""
    return _alike(settings, [_plain(settings, [setting.stored.labels for setting in settings])])


def majority(settings: Sequence[Repetition]) -> Learned:
    """One label per query: what most have said."""
    return _alike(settings, [_plain(settings, [_by_majority(setting.stored) for setting in settings])])


def _by_majority(stored: StoredLabels) -> AnsweredPairs:
    target, _ = an.majority(stored.labels.target, stored.number)
    _, first = np.unique(stored.number, return_index=True)
    return stored.labels.select(first)._replace(target=target.astype(np.float32))


def known(settings: Sequence[Repetition]) -> Learned:
    """The reliable people of each wish, alone."""
    models = []
    for wish in range(1 + max(person.wish for person in settings[0].people)):
        names = {f"{a}-reliable" for a, p in enumerate(settings[0].people) if p.wish == wish}
        own = [np.array([name in names for name in setting.stored.annotator]) for setting in settings]
        models.append(
            _plain(settings, [setting.stored.labels.select(rows) for setting, rows in zip(settings, own, strict=True)])
        )
    return _alike(settings, models, wished=True)


def reliability(settings: Sequence[Repetition]) -> Learned:
    """One reward, and a reliability of each annotator."""
    return _crowd(settings, ReliabilityConfig())


def mixture(settings: Sequence[Repetition]) -> Learned:
    """Two groups with a reward each."""
    return _crowd(settings, MixtureConfig())


def _crowd(settings: Sequence[Repetition], cfg: ReliabilityConfig | MixtureConfig) -> Learned:
    """Fits a crowd; annotators come back in the order of the people."""
    seeds = [setting.seed for setting in settings]
    model, crowd = _model(settings), Crowd.create(cfg, REWARD, OBS, ACT, seeds)
    crowd.fit(model, [setting.stored for setting in settings])
    group, found, kinds = [], [], []
    for names, people in zip(crowd.names, crowd.people, strict=True):
        assert people is not None
        order = np.argsort([int(name.partition("-")[0]) for name in names])
        group.append(people.group[order].argmax(1))
        b, sd = (part[order, group[-1]] for part in (people.reliability, people.reliability_sd))
        found.append(b)
        kinds.append([an.kind(*pair) for pair in zip(b, sd, strict=True)])
    models = [model] + [_others(crowd, k, len(seeds)) for k in range(crowd.groups - 1)]
    return Learned(models, group, [np.sign(b) for b in found], kinds, found)


def _others(crowd: Crowd, k: int, members: int) -> RewardModel:
    """The models of group k + 1 of all members."""
    model = RewardModel.create(REWARD, OBS, ACT, range(members))
    assert crowd.others is not None
    model.flat.copy_(crowd.others.flat[k :: crowd.groups - 1])
    return model


WAYS: dict[str, Callable[[Sequence[Repetition]], Learned]] = {
    "pooled": pooled,
    "majority": majority,
    "reliability": reliability,
    "mixture": mixture,
    BEST: known,
}


def judge(learned: Learned, settings: Sequence[Repetition]) -> dict[str, list[float]]:
    """Both metrics of each repetition, mean over the reliable annotators; kinds and groups where a way tells them."""
    found: dict[str, list[float]] = {name: [] for name in METRICS}
    for m, setting in enumerate(settings):
        returns = np.stack([_predicted(model, m, setting.held) for model in learned.models])  # [K, n, 2]
        scores = [
            _scores(learned.sign[m][a] * returns[learned.group[m][a]], setting, person.wish)
            for a, person in enumerate(setting.people)
            if person.kind == "reliable"
        ]
        for name, values in zip(METRICS, zip(*scores, strict=True), strict=True):
            found[name].append(float(np.mean(values)))
    if learned.kinds is not None:
        found |= _who_is_who(learned, settings)
    return found


def _predicted(model: RewardModel, m: int, held: Queries) -> NDArray[np.float64]:
    rows = (torch.from_numpy(part).flatten(0, 2)[None] for part in (held.obs, held.act))
    return model.select(m).reward(*rows)[0].view(held.rew.shape).double().sum(2).numpy()


def _scores(returns: NDArray[np.float64], setting: Repetition, wish: int) -> tuple[float, float]:
    right = np.sign(np.diff(returns)[:, 0]) == np.sign(setting.gaps[wish])
    return float(spearmanr(returns.ravel(), setting.returns[wish]).statistic), float(right.mean())


def _who_is_who(learned: Learned, settings: Sequence[Repetition]) -> dict[str, list[float]]:
    """Share of annotators called what they are; with two wishes, share put with those who want the same.

    Who answers the opposite may be told by a group of their own or by a negative reliability.
    """
    assert learned.kinds is not None
    right = []
    for m, setting in enumerate(settings):
        wishes = np.array([person.wish for person in setting.people])
        side = learned.group[m] if len(learned.models) > 1 else (learned.sign[m] < 0).astype(int)
        called = np.mean([k == p.kind for k, p in zip(learned.kinds[m], setting.people, strict=True)])
        together = max((side == wishes).mean(), (side == 1 - wishes).mean())
        right.append(float(together if wishes.any() else called))
    return {"who": right}


def run_crowds(
    folder: Path, seeds: int, queries: int, per_query: int, seed: int = 0, ways: Sequence[str] = tuple(WAYS)
) -> dict[str, Any]:
    """The experiment as plain JSON; answers stay in `labels.sqlite` of the folder.

    Raises:
        UserError: fewer than two seeds or queries, more annotators per query than there are, or a folder that holds
            answers already.
    """
    most = min(map(len, CROWDS.values()))
    if seeds < 2 or queries < 10 or not 1 <= per_query <= most:
        raise UserError(
            f"seeds={seeds} queries={queries} per_query={per_query}: need at least 2 seeds, 10 queries, "
            f"and 1 to {most} annotators per query"
        )
    path = folder / "labels.sqlite"
    if path.exists():
        raise UserError(f"{path} exists already: name another folder with out=")
    store = LabelStore(path)
    roots = [seeding.derive(seed, "crowd", i) % 10**6 for i in range(seeds)]
    found = {}
    for name in CROWDS:
        settings = [make_setting(store, name, queries, per_query, root) for root in roots]
        found[name] = _compare(settings, ways)
    store.close()
    return {"seeds": seeds, "queries": queries, "per_query": per_query, "crowds": found}


def _compare(settings: Sequence[Repetition], ways: Sequence[str]) -> dict[str, Any]:
    """Every way on the same answers: figures with 95 % intervals over repetitions, and paired differences."""
    learned = {name: WAYS[name](settings) for name in ways}
    values = {name: judge(one, settings) for name, one in learned.items()}
    out: dict[str, Any] = {}
    for name, own in values.items():
        out[name] = {metric: _figure(numbers) for metric, numbers in own.items()}
        for metric, base in itertools.product(METRICS, (way for way in BASELINES if way in values)):
            gain = np.subtract(own[metric], values[base][metric])
            out[name][f"{metric}_over_{base}"] = _figure(gain.tolist())
        of_people = learned[name].reliability
        if of_people is not None:
            out[name]["reliability"] = [_figure(list(column)) for column in np.stack(of_people).T]
    return {"people": [person.kind for person in settings[0].people], "ways": out}


def _figure(values: Sequence[float]) -> dict[str, Any]:
    return {"mean": float(mean(values)), "interval95": list(bootstrap_ci([values])), "values": list(map(float, values))}


def reward_config() -> dict[str, Any]:
    """The reward model of the experiment, for its record."""
    return dataclasses.asdict(REWARD)
