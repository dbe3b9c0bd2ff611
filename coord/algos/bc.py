"""Behaviour cloning of the recorded human-human games (Carroll et al. 2019).

A two-layer network on the hand-made features of overcooked-ai learns, by cross-entropy, what the people in either
seat did. Per layout there are two clones: `bc_train` from the games of the train half, which training may use as a
partner, and `human_proxy` from the held-out half, which only ever judges. Games recorded with the game client make
`bc_people`, for any layout.

Several seeds train at once over the population axis; member m depends on its seed alone. Clones are trained on one
thread, whatever the caller uses: they are small, and a clone must not depend on how many cores its maker had.

Deviations: the validation games are whole games (Carroll splits rows, so neighbouring ticks of one game fall on both
sides and the figure flatters); rectified linear units instead of tanh; overcooked-ai's 96 features instead of 62-64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from coord import memory, seeding
from coord.agents.files import HELD_OUT_ID, AgentCard, StoredAgent
from coord.agents.views import KitchenView
from coord.errors import UserError, unknown
from coord.limits import Count, CountOrNone, ShareAboveZero, ShareBelowOne, Widths
from coord.nets.optim import PopulationAdam
from coord.nets.population import Arch, PopulationNet
from coord.overcooked import Layout, OvercookedVectorEnv, load_layout
from coord.overcooked.human_data import HumanGame, load_games
from coord.overcooked.recorded import RecordedGame, games_on
from coord.threads import one_thread
from coord.types import NUM_ACTIONS

AGENT_IDS = {"train": "bc_train", "test": HELD_OUT_ID}
RULES = "classic"  # the rules of 2019, under which the games were recorded
PUBLISHED_EPOCHS = {  # Carroll et al. 2019; the layouts for which human games exist
    "cramped_room": 100,
    "asymmetric_advantages": 120,
    "coordination_ring": 120,
    "forced_coordination": 90,
    "counter_circuit_o_1order": 110,
}
RECORDED_ID = "bc_people"  # a clone of the people who played with the game client
RECORDED_EPOCHS = 100


def has_human_games(layout: Layout) -> bool:
    """Whether people were recorded on the terrain of `layout`; start tiles do not matter."""
    return any(load_layout(name).terrain == layout.terrain for name in PUBLISHED_EPOCHS)


def recorded_layout(layout: Layout) -> str:
    """The name under which the human games on the terrain of `layout` were recorded.

    Raises:
        UserError: there are none (the five layouts with games are named).
    """
    if not has_human_games(layout):
        raise UserError(f"human games exist for {', '.join(PUBLISHED_EPOCHS)} - not for '{layout.name}'")
    return next(name for name in PUBLISHED_EPOCHS if load_layout(name).terrain == layout.terrain)


@dataclass(frozen=True, kw_only=True)
class BCConfig:
    """Behaviour cloning of human-human games."""

    split: str = "train"  # half of the games: train, or test (held out; gives human_proxy, which training refuses)
    epochs: CountOrNone = 0  # passes over the games; 0: the published number for the layout, 90..120
    batch_size: Count = 256  # rows per step of Adam
    lr: ShareAboveZero = 1e-3  # Adam step size
    hidden: Widths = (64, 64)  # widths of the dense layers
    val_fraction: ShareBelowOne = 0.15  # share of the games held back to watch the accuracy on, at least one game

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        if self.split not in AGENT_IDS:
            raise unknown("half of the human games (split)", self.split, AGENT_IDS)


class Demonstrations(NamedTuple):
    """What people saw and did: one row per (tick, seat)."""

    features: np.ndarray  # [n, F] float32, or [n, K] int16 for networks on indices
    acts: NDArray[np.int64]  # [n]
    game: NDArray[np.int64]  # [n] which game the row is from

    def rows(self, mask: NDArray[np.bool_]) -> Demonstrations:
        """The rows where `mask` [n] is true."""
        return Demonstrations(self.features[mask], self.acts[mask], self.game[mask])


class Epoch(NamedTuple):
    """How far the training of a clone has come."""

    done: int
    of: int
    decisions: int  # recorded decisions learned from so far, repeats counted
    metrics: dict[str, float]  # loss on these, loss and accuracy on games it did not learn from


def held_back(demos: Demonstrations, fraction: float, seed: int) -> NDArray[np.bool_]:
    """[n] true for the rows of the validation games: `fraction` of the games, at least one if fraction > 0."""
    games = np.unique(demos.game)
    count = 0 if fraction == 0.0 else max(1, round(fraction * len(games)))
    if count >= len(games):
        raise UserError(f"val_fraction={fraction} leaves none of the {len(games)} games to learn from")
    chosen = seeding.rng(seed, "bc", "validation").permutation(games)[:count]
    return np.isin(demos.game, chosen)


OnEpoch = Callable[[int, PopulationNet, float], None]  # epochs done, the clones so far, mean loss of the epoch


def clone(
    demos: Demonstrations, config: BCConfig, seeds: Sequence[int], epochs: int, on_epoch: OnEpoch | None = None
) -> PopulationNet:
    """Train one clone per seed on all rows of `demos`: Adam on cross-entropy, every epoch in a fresh order."""
    check_memory(demos, config, len(seeds))
    arch = Arch(kind="mlp_features", inputs=demos.features.shape[1], hidden=config.hidden)
    net = PopulationNet.create(arch, [seeding.torch_generator(seed, "bc", "init") for seed in seeds])
    optimiser = PopulationAdam(net, eps=1e-8)
    lr = torch.full((len(seeds),), config.lr)
    gens = [seeding.torch_generator(seed, "bc", "order") for seed in seeds]
    features, acts = torch.from_numpy(demos.features), torch.from_numpy(demos.acts)
    for epoch in range(epochs):
        order = torch.stack([torch.randperm(len(acts), generator=gen) for gen in gens])  # [M, n]
        total = 0.0
        for batch in order.split(config.batch_size, dim=1):
            loss = cloning_loss(net, features[batch], acts[batch])
            loss.backward()
            optimiser.step(lr, max_grad_norm=float("inf"))
            total += loss.item() * batch.shape[1]
        if on_epoch is not None:
            on_epoch(epoch + 1, net, total / (len(acts) * len(seeds)))
    return net


def check_memory(demos: Demonstrations, config: BCConfig, members: int = 1) -> None:
    """UserError unless networks with Adam, and what a batch leaves for its gradient, can be held."""
    widths = (demos.features.shape[1], *config.hidden, NUM_ACTIONS)
    rows = members * min(config.batch_size, len(demos.acts))
    networks = members * memory.dense_numbers(widths) * memory.ADAM * memory.FLOAT
    parts = {"networks with Adam": networks, f"batches of {rows} rows": rows * sum(widths) * memory.FLOAT}
    memory.check(parts, "lower members, batch_size or hidden")


def cloning_loss(net: PopulationNet, features: Tensor, acts: Tensor) -> Tensor:
    """Cross-entropy of `acts` [M, B] given `features` [M, B, F]: mean over rows, sum over members."""
    logits, _ = net(features)
    return F.cross_entropy(logits.flatten(0, 1), acts.flatten(), reduction="sum") / acts.shape[1]


def accuracy(net: PopulationNet, demos: Demonstrations) -> NDArray[np.float64]:
    """[M] share of rows in which the likeliest action is the one the person chose."""
    with torch.inference_mode():
        logits, _ = net(torch.from_numpy(demos.features).expand(net.members, -1, -1))
    return (logits.argmax(-1).numpy() == demos.acts).mean(axis=1)


def action_shares(demos: Demonstrations) -> NDArray[np.float64]:
    """[6] how often people chose each action; the largest is the accuracy of a constant guess."""
    return np.bincount(demos.acts, minlength=NUM_ACTIONS) / len(demos.acts)


def chance(net: PopulationNet, demos: Demonstrations) -> NDArray[np.float64]:
    """[M] mean probability of the person's action: the accuracy of actions drawn from the policy."""
    with torch.inference_mode():
        logits, _ = net(torch.from_numpy(demos.features).expand(net.members, -1, -1))
    probs = torch.softmax(logits, dim=-1).numpy()
    return probs[:, np.arange(len(demos.acts)), demos.acts].mean(axis=1)


def load_demonstrations(recorded: str, split: str, obs_kind: str = "features") -> Demonstrations:
    """Both seats of all games of one half that were recorded on a layout, as networks that read `obs_kind` see them.

    Raises:
        UserError: no such layout or half (see `coord.overcooked.human_data.load_games`).
    """
    games = load_games(split, recorded)
    features = np.concatenate([_observed(recorded, game, obs_kind) for game in games])  # [T, P, F]
    acts = np.concatenate([game.joint_act for game in games])  # [T, P]
    number = np.repeat(np.arange(len(games)), [game.joint_act.size for game in games])
    return Demonstrations(features.reshape(-1, features.shape[-1]), acts.reshape(-1).astype(np.int64), number)


def _observed(layout: str, game: HumanGame, obs_kind: str) -> np.ndarray:
    """[T, P, F] what each seat saw before each joint action; the clock is that of the recorded game."""
    env = OvercookedVectorEnv(layout, len(game.joint_act), horizon=len(game.joint_act), rules=RULES)
    for tick in range(env.num_envs):
        env.load_state_dict(tick, game.states[tick])
    return getattr(KitchenView(env), obs_kind)()


def _progress(net: PopulationNet, demos: Demonstrations) -> dict[str, float]:
    """Loss and accuracy of one clone on all rows of `demos`."""
    with torch.no_grad():
        loss = cloning_loss(net, torch.from_numpy(demos.features)[None], torch.from_numpy(demos.acts)[None])
    return {"eval/bc_loss": loss.item(), "eval/bc_accuracy": float(accuracy(net, demos)[0])}


class CloningData(NamedTuple):
    """What a clone is made from and what it may be called."""

    agent_id: str
    layout: Layout
    rules: str
    human_data: str  # for the card: see AgentCard
    demos: Demonstrations
    unseen: Demonstrations | None  # decisions of people it never sees, to judge it on
    epochs: int  # if the config leaves them open


def packaged_games(layout: str | Layout, split: str) -> CloningData:
    """One half of the games of 2019 on `layout`; the other half is unseen.

    Raises:
        UserError: a layout without human games.
    """
    layout = load_layout(layout)
    recorded = recorded_layout(layout)
    demos = load_demonstrations(recorded, split)
    other = load_demonstrations(recorded, "test" if split == "train" else "train")
    return CloningData(AGENT_IDS[split], layout, RULES, split, demos, other, PUBLISHED_EPOCHS[recorded])


def own_games(path: str | Path, layout: str | Layout, rules: str) -> CloningData:
    """What the people in a recordings file of the game client did on `layout` under `rules`, whoever else played.

    Raises UserError if the file cannot be read, or nobody played there.
    """
    layout = load_layout(layout)
    games = games_on(path, layout, rules)
    features = [_recorded_features(game) for game in games]  # [T * humans, F] each
    acts = [game.joint_act[:, game.human_seats].reshape(-1) for game in games]
    number = np.repeat(np.arange(len(games)), [len(one) for one in acts])
    demos = Demonstrations(np.concatenate(features), np.concatenate(acts).astype(np.int64), number)
    return CloningData(RECORDED_ID, layout, rules, "recorded", demos, None, RECORDED_EPOCHS)


def _recorded_features(game: RecordedGame) -> NDArray[np.float32]:
    """[T * H, F] what the H people saw before each of their actions."""
    env = OvercookedVectorEnv(game.header.kitchen(), len(game.rew), rules=game.header.rules)
    for tick, state in enumerate(game.states()[:-1]):
        env.load_state_dict(tick, state)
    features = env.feature_obs()[:, game.human_seats]
    return features.reshape(-1, features.shape[-1])


def train_clone(
    data: CloningData, config: BCConfig, seed: int, on_epoch: Callable[[Epoch], None] | None = None
) -> StoredAgent:
    """The clone of the people in `data`, with its accuracies on the card.

    `held_back` is about validation games of the same people, `unseen` about games of people it never saw; `accuracy`
    takes the likeliest action, `chance` draws one.

    Raises:
        UserError: `config.val_fraction` leaves no game to learn from.
    """
    demos = data.demos
    back = held_back(demos, config.val_fraction, seed)
    judged: dict[str, Demonstrations] = {"fitted": demos.rows(~back)}
    if back.any():
        judged["held_back"] = demos.rows(back)
    if data.unseen is not None:
        judged["unseen"] = data.unseen
    watched = list(judged.values())[-1]  # the strictest there is
    epochs = config.epochs or data.epochs

    def watch(done: int, net: PopulationNet, loss: float) -> None:
        if on_epoch is not None:
            metrics = {"train/bc_loss": loss, **_progress(net, watched)}
            on_epoch(Epoch(done, epochs, done * int((~back).sum()), metrics))

    with one_thread():
        net = clone(demos.rows(~back), config, [seed], epochs, watch)
        rates = {"accuracy": accuracy, "chance": chance}
        figures = {key: {n: float(rate(net, rows)[0]) for n, rows in judged.items()} for key, rate in rates.items()}
    card = AgentCard(
        agent_id=data.agent_id,
        layouts={data.layout.name: data.layout.hash},
        rules=data.rules,
        method="bc",
        arch=net.arch,
        seed=seed,
        human_data=data.human_data,
        unstick=True,
        extra={"epochs": epochs, "action_shares": action_shares(demos).tolist(), **figures},
    )
    return StoredAgent(card, net)
