"""PECAN: mixtures of policies, who is drawn in which phase, what the ego is given, what the encoder learns."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from coord.agents.context.groups import GROUPS, PartnerGroup
from coord.agents.files import StoredAgent
from coord.algos import ppo
from coord.errors import UserError
from coord.evaluation.agents import load_agent
from coord.evaluation.matches import MatchRules, both_seats, play_matches
from coord.overcooked import load_layout
from coord.partner_env import Episodes
from populations.methods import fcp, pecan
from populations.methods.auxiliary_classifier import class_weights
from populations.methods.pecan import PECANConfig
from populations.training import Setup, Training, write_egos
from tests.resuming import check_resume

TINY = ppo.PPOConfig(total_steps=600, num_envs=5, rollout_len=30, num_epochs=1, num_minibatches=2)
LEVEL = np.array([1, 2, 3] * 2)  # of the pool below: start, middle and end of two agents


def untrained_pool(agents: int = 2, sharp: float = 1.0) -> tuple[StoredAgent, ...]:
    """Three checkpoints of each agent, all of them fresh, in the order in which `coord population` writes them."""
    setup = Setup(algo=TINY, layout="cramped_room", members=3 * agents, seed=9, name="mep")
    made = fcp.make(fcp.FCPConfig(), setup)
    with torch.no_grad():
        made.state.net.head_weight *= sharp
    final = [new for new in made.agents() if new.card.checkpoint == "final"]
    kinds = ["init", "mid", "final"] * agents
    return tuple(
        StoredAgent(dataclasses.replace(new.card, checkpoint=kind), new.net)
        for new, kind in zip(final, kinds, strict=True)
    )


def training(
    members: int = 2, seed: int = 3, algo: ppo.PPOConfig = TINY, sharp: float = 1.0, **own: object
) -> Training:
    setup = Setup(algo=algo, layout="cramped_room", horizon=25, members=members, seed=seed, name="pecan")
    cfg = PECANConfig(**{"window": 5, "encoder_batch": 10, **own})
    return pecan.make(cfg, dataclasses.replace(setup, partners=untrained_pool(sharp=sharp)))


# ------------------------------------------------------------------------------------------------- partners


def test_weights_are_uniform_on_the_simplex() -> None:
    """Mean, variance and covariance of Dirichlet(1, ..., 1), and the largest of five: (1 + 1/2 + ... + 1/5) / 5.

    Sorted uniforms over their sum, as released, have a largest weight of about a third and far less variance.
    """
    drawn = pecan.simplex(np.random.default_rng(0), 40_000, 5)
    np.testing.assert_allclose(drawn.sum(1), 1)
    np.testing.assert_allclose(drawn.mean(0), 1 / 5, atol=3e-3)
    np.testing.assert_allclose(drawn.var(0), 4 / (25 * 6), atol=1e-3)
    assert np.cov(drawn.T)[0, 1] == pytest.approx(-1 / (25 * 6), abs=1e-3)
    assert drawn.max(1).mean() == pytest.approx(sum(1 / i for i in range(1, 6)) / 5, abs=3e-3)


def test_a_mixture_acts_from_the_weighted_sum_of_its_groups_policies() -> None:
    made = training(sharp=300.0)
    partners, view = made.env.inner.partners, made.env.inner.view
    kitchens, seats = np.arange(6), np.arange(6) % 2
    rows = np.array([1, 4, 7, 8, 9, 9])  # two agents, then the mixtures of low, mid, and twice high
    found = partners.probs(view, kitchens, seats, partners.weights[kitchens, rows])
    with torch.no_grad():
        obs = torch.from_numpy(view.index(partners.spec)[kitchens, seats])
        each = partners.net(obs.expand(6, -1, -1).contiguous())[0].softmax(-1).numpy()  # [agent, kitchen, 6]
    for i, row in enumerate(rows):
        weight = partners.weights[kitchens[i], row]
        np.testing.assert_allclose(found[i].numpy(), weight @ each[:, i], rtol=1e-4, atol=1e-6)
        in_group = np.flatnonzero(weight).tolist()
        assert in_group == ([row - 1] if row < 7 else np.flatnonzero(row - 6 == LEVEL).tolist())
    assert partners.group.tolist() == [0, *LEVEL, 1, 2, 3]


def test_mixtures_are_new_in_every_episode() -> None:
    partners = training().env.inner.partners
    before = partners.weights.copy()
    partners.begin_episode(np.array([1, 3]))
    changed = np.abs(partners.weights - before).max(2) > 0
    assert changed[:, :7].sum() == 0
    assert changed[[1, 3], 7:].all()
    assert changed.sum() == 6


def test_pools_without_levels_are_refused() -> None:
    pool = untrained_pool()
    with pytest.raises(UserError, match="none with checkpoint=mid"):
        pecan.levels([who for who in pool if who.card.checkpoint != "mid"])
    with pytest.raises(UserError, match="partners=<pool>"):
        pecan.make(PECANConfig(), Setup(algo=TINY, layout="cramped_room"))


# ------------------------------------------------------------------------------------------------- phases


def test_alpha_falls_to_its_least_value() -> None:
    cfg = PECANConfig()
    assert [round(pecan.alpha(cfg, i), 4) for i in (0, 35, 70, 99)] == [1.0, 0.65, 0.3, 0.3]


def test_groups_by_hand() -> None:
    """Returns 30, 10, 20, 10: ranks 4, 1.5, 3, 1.5 from below; with beta 1 weights 1/4, 2/3, 1/3, 2/3."""
    weight = np.array([1 / 4, 2 / 3, 1 / 3, 2 / 3])
    found = pecan.group_probabilities(np.array([[30.0, 10, 20, 10]]), 1.0)
    np.testing.assert_allclose(found[0], weight / weight.sum())
    np.testing.assert_allclose(pecan.group_probabilities(np.array([[5.0, 9.0]]), 3.0)[0], [8 / 9, 1 / 9])


def paid(made: Training, value: object) -> None:
    """Every (row, seat) was met once by both learners and earned value(row, seat)."""
    for m in range(2):
        for seat in range(2):
            for row in range(10):
                one = (np.array([x]) for x in (m, value(row, seat), row, seat))
                made.extra.on_episodes(Episodes(*one))


def test_partners_and_groups_are_drawn_by_the_ranks_of_returns_in_each_seat() -> None:
    """Seat 1 earns one point more than seat 0 with everybody; a group earns what its first row does, by tens."""
    made = training(beta=1.0)
    group = made.extra.group
    paid(made, lambda row, seat: 10.0 * group[row] + seat)
    made.extra.ensemble[:] = [False, True]
    made.extra.set_probs()
    probs = made.env.inner.probs  # [M, seat, row]
    assert probs.shape == (2, 2, 10)
    np.testing.assert_allclose(probs.sum(2), 1)
    # Population phase: 7 agents in 2 seats; the ego (0, then 1) has ranks 14 and 13, the two untrained (10, then 11)
    # share 12 and 11, 10 and 9, and so on.
    weight = np.array([14, 11.5, 7.5, 3.5, 11.5, 7.5, 3.5])
    np.testing.assert_allclose(probs[0, 0], [*weight / weight.sum(), 0, 0, 0])
    weight = np.array([13, 9.5, 5.5, 1.5, 9.5, 5.5, 1.5])
    np.testing.assert_allclose(probs[0, 1], [*weight / weight.sum(), 0, 0, 0])
    # Ensemble phase: 8 cells, ranks 1, 3, 5, 7 from below in seat 0, 2, 4, 6, 8 in seat 1.
    for seat, rank in enumerate(([1, 3, 5, 7], [2, 4, 6, 8])):
        weight = 1 / np.array(rank)
        found = probs[1, seat]
        np.testing.assert_allclose(found[[0, 7, 8, 9]], weight / weight.sum())
        assert (found[1:7] == 0).all()


def test_training_begins_with_the_population_and_alternates() -> None:
    made, seen = training(algo=dataclasses.replace(TINY, total_steps=6000), iterations=10, alpha_iterations=1), []
    assert (made.env.inner.partner < 7).all()

    def on_update(state: ppo.PPOState, metrics: dict) -> None:
        seen.append(metrics["method/ensemble"])
        assert np.array_equal(made.env.inner.probs[..., 1:7].sum((1, 2)) == 0, metrics["method/ensemble"] == 1)

    made.run(made.state, made.env, ppo.Hooks(on_update=on_update))
    phases = np.array(seen)  # [40, M]; an iteration lasts four updates, the last one is as short as one
    assert made.extra.iteration == 10
    assert (phases[:3] == 0).all()
    assert 0 < phases.mean() < 1
    changes = np.flatnonzero(np.diff(phases, axis=0).any(1))
    assert set((changes + 2) % 4) <= {0}


def test_a_partner_stays_for_its_rounds() -> None:
    made, rows = training(rounds=3), []
    inner = made.env.inner
    for tick in range(25 * 7):
        if tick % 25 == 0:
            rows.append((inner.partner.copy(), inner.round.copy()))
        made.env.step(torch.full((2, 5), 4))
    rounds = [int(np.unique(r)[0]) for _, r in rows]
    assert rounds == [0, 1, 2, 0, 1, 2, 0]
    for i in range(1, 7):
        same = np.array_equal(rows[i][0], rows[i - 1][0])
        assert same == (rounds[i] != 0)


# ------------------------------------------------------------------------------------------------- context


def test_the_ego_is_given_the_true_group_in_its_share_of_the_episodes() -> None:
    algo = dataclasses.replace(TINY, num_envs=100)
    made = training(algo=algo, true_share=0.3)
    inner, context = made.env.inner, made.env.context
    shares = []
    for tick in range(25 * 4):
        if tick % 25 == 0:
            values = made.env.observe()[..., -4:].flatten(0, 1).numpy() / 32767
            ego, rows = inner.ego_seat, np.arange(200)
            truth = inner.partners.group[inner.partner[rows, 1 - ego]]
            np.testing.assert_allclose(values[context.privileged], np.eye(4)[truth[context.privileged]], atol=1e-4)
            assert (values[~context.privileged].max(1) < 0.9999).all()
            assert (context.truth[rows, 1 - ego] == 0).all()  # the partner's partner is the ego
            shares.append(context.privileged.mean())
        made.env.step(torch.full((2, 100), 4))
    assert np.mean(shares) == pytest.approx(0.3, abs=0.06)


def test_a_new_partner_is_a_stranger() -> None:
    made = training(true_share=0.0, rounds=2, context_update="both")
    first = made.env.observe()[..., -4:].clone()
    known = []
    for tick in range(1, 25 * 4 + 1):
        made.env.step(torch.full((2, 5), 4))
        if tick % 25 == 0:
            known.append(not torch.equal(made.env.observe()[..., -4:], first))
    assert known == [True, False, True, False]


def test_examples_are_windows_of_the_egos_partner_under_its_group() -> None:
    made = training(true_share=1.0)
    classifier, inner, labels = made.extra.classifier, made.env.inner, []
    classifier.note = lambda member, windows, label: labels.append((member.copy(), label.copy()))
    truth = inner.partners.group[inner.partner[np.arange(10), 1 - inner.ego_seat]].copy()
    for _ in range(11):
        made.env.step(torch.full((2, 5), 4))
    members, found = (np.concatenate(part) for part in zip(*labels, strict=True))
    assert members.tolist() == [0] * 5 + [1] * 5 + [0] * 5 + [1] * 5
    assert found.tolist() == [*truth, *truth]


def test_classes_count_the_same() -> None:
    weights = class_weights(torch.tensor([[0, 0, 0, 2], [1, 1, 1, 1]]), 4)
    torch.testing.assert_close(weights, torch.tensor([[1 / 6, 1 / 6, 1 / 6, 1 / 2], [1 / 4] * 4]))


# ------------------------------------------------------------------------------------------------- whole runs


def test_a_killed_run_goes_on_with_the_same_bits() -> None:
    whole, resumed = (training(seed=seed, iterations=4, alpha_iterations=1) for seed in (3, 8))
    saved, found = check_resume(whole, resumed, at=2)
    assert not torch.equal(found["extra.classifier.net.table"], saved["extra.classifier.net.table"])


@pytest.mark.parametrize("update", ["episode", "within", "both"])
def test_what_was_trained_is_saved_and_plays(update: str, tmp_path) -> None:
    made = training(context_update=update)
    made.run(made.state, made.env, ppo.Hooks())
    write_egos(tmp_path, made.agents())
    agent = load_agent(f"{tmp_path}#pecan3-1", "cramped_room", "classic")
    assert isinstance(agent.contexts[0], PartnerGroup)
    assert (agent.contexts[0].update, agent.contexts[0].window) == (update, 5)
    for name, tensor in agent.contexts[0].tensors().items():
        assert torch.equal(tensor[0], made.extra.classifier.net.tensors()[name][1])
    where = MatchRules(layout=load_layout("cramped_room"), horizon=60)
    pair = [agent, load_agent("random", "cramped_room", "classic")]
    assert play_matches(where, pair, both_seats(0, [1]), episodes=2).returns.shape == (2, 2)


def trained_agents() -> list[StoredAgent]:
    """Start, middle and end of four agents, each from a seed of its own."""
    algo = ppo.PPOConfig(
        total_steps=230_000, num_envs=32, lr=3e-3, ent_coef=0.03, ent_horizon=150_000, num_minibatches=4
    )
    made = fcp.make(fcp.FCPConfig(), Setup(algo=algo, layout="cramped_room", members=4, seed=1, name="fcp"))
    made.run(made.state, made.env, ppo.Hooks())
    assert made.state.mean_returns().min() > 150
    return [StoredAgent(new.card, new.net) for new in made.agents()]


@pytest.mark.learn
def test_the_encoder_recognises_the_groups_of_partners_it_never_met() -> None:
    """It learns from play with two agents; asked about two others it is right far more often than by chance.

    Both by single windows and, better, by what has become of the context at the end of an episode.
    """
    agents = trained_agents()
    setup = Setup(algo=ppo.PPOConfig(total_steps=230_000), layout="cramped_room", seed=1, name="pecan")
    made = pecan.make(PECANConfig(), dataclasses.replace(setup, partners=tuple(agents[:6])))
    made.run(made.state, made.env, ppo.Hooks())
    strangers = pecan.make(PECANConfig(), dataclasses.replace(setup, partners=tuple(agents[6:])))
    strangers.extra.classifier.load_state_dict(made.extra.classifier.state_dict())
    strangers.state.net.load_state_dict(made.state.net.state_dict())
    context, inner = strangers.env.context, strangers.env.inner
    by_window, by_episode = np.zeros((2, len(GROUPS), len(GROUPS)))  # counts of (truth, guess)
    strangers.extra.classifier.note = lambda member, windows, label: np.add.at(
        by_window, (label, context.inner.log_probs(windows, member).argmax(1)), 1
    )
    rows, gen = np.arange(64), torch.Generator().manual_seed(0)
    for tick in range(3 * 400 - 1):
        with torch.no_grad():
            probs = strangers.state.net(strangers.env.observe())[0].softmax(-1)
        strangers.env.step(torch.multinomial(probs[0], 1, generator=gen).T)
        if tick % 400 == 398:
            found = context.inner.probabilities(rows, inner.ego_seat).argmax(1)
            np.add.at(by_episode, (context.truth[rows, inner.ego_seat], found), 1)
    windows, episodes = (np.diag(count / count.sum(1, keepdims=True)).mean() for count in (by_window, by_episode))
    assert by_window.sum() > 5000
    assert windows > 0.4, by_window  # by chance 1/4
    assert episodes > max(0.5, windows), by_episode
