"""The scripted cook: what it scores, that it delivers in every kitchen, and that it never stays stuck."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence

import numpy as np
import pytest

from coord.agents.greedy import GreedyAgent
from coord.agents.players import Agent, RandomAgent, StayAgent
from coord.agents.views import KitchenView
from coord.errors import UserError
from coord.overcooked import EVENTS, Layout, OvercookedVectorEnv, layout_names, load_layout
from coord.overcooked import packed_row as r
from coord.overcooked.planner import FAR, walk
from coord.overcooked.task_allocation.kitchen import build_kit

WEST, EAST = 3, 2
OPEN = ("cramped_room", "asymmetric_advantages", "coordination_ring", "counter_circuit_o_1order", "large_room")
CORRIDOR = "XXXXPXXXX\nXO12   DX\nXXXXSXXXX"


class Pusher:
    """Walks in one direction for ever, like a person who wants to get through."""

    agent_id = "pusher"

    def start(self, num_envs: int, num_players: int, seed: object) -> None: ...

    def begin_episode(self, rows: np.ndarray) -> None: ...

    def act(self, view: KitchenView, rows: np.ndarray, seats: np.ndarray) -> np.ndarray:
        return np.full(len(rows), WEST)


def usable_layouts(num_players: int = 2) -> list[str]:
    """The package's layouts with so many chefs; a file that overcooked-ai itself refuses is left out."""
    names = []
    for name in layout_names():
        try:
            layout = load_layout(name)
        except UserError:
            continue
        if layout.num_players == num_players:
            names.append(name)
    return names


def play(env: OvercookedVectorEnv, seats: Sequence[Agent], ticks: int, seed: int = 0) -> list[np.ndarray]:
    """Plays `ticks` ticks (seats[p] holds seat p everywhere); returns the joint actions [N, P] of each."""
    view, rows = KitchenView(env), np.arange(env.num_envs)
    agents = list(dict.fromkeys(seats))
    for number, agent in enumerate(agents):
        agent.start(env.num_envs, env.num_players, seed + number)
    history = []
    for _ in range(ticks):
        view.invalidate()
        acts = np.zeros((env.num_envs, env.num_players), np.int64)
        for p, agent in enumerate(seats):
            acts[:, p] = agent.act(view, rows, np.full(env.num_envs, p))
        history.append(acts)
        env.step(acts)
    return history


def is_possible_alone(layout: Layout, seat: int, rules: str) -> bool:
    """Whether a chef can fetch, cook, plate and serve some paid soup while the other chef stands at its start."""
    (x, y), blocked = layout.start_positions[seat], layout.start_positions[1 - seat]
    seen, tiles, todo = {(x, y)}, set(), [(x, y)]
    while todo:
        x, y = todo.pop()
        for cell in ((x, y - 1), (x, y + 1), (x + 1, y), (x - 1, y)):
            tiles.add(layout.terrain[cell[1]][cell[0]])
            if layout.terrain[cell[1]][cell[0]] == " " and cell != blocked and cell not in seen:
                seen.add(cell)
                todo.append(cell)
    in_reach = {name for name, tile in (("onion", "O"), ("tomato", "T")) if tile in tiles}
    cookable = in_reach if rules == "classic" else any(set(order) <= in_reach for order in layout.all_orders)
    return bool(cookable) and {"P", "D", "S"} <= tiles


def scores(layout: object, seats: Sequence[Agent], rules: str, ticks: int, num_envs: int) -> np.ndarray:
    env = OvercookedVectorEnv(layout, num_envs, horizon=ticks + 1, rules=rules)
    play(env, seats, ticks)
    return env.episode_return()


@pytest.mark.parametrize(
    ("layout", "least"),
    [
        ("cramped_room", 180),
        ("asymmetric_advantages", 280),
        ("coordination_ring", 180),
        ("forced_coordination", 120),
        ("counter_circuit_o_1order", 140),
    ],
)
def test_scores_with_itself(layout: str, least: float) -> None:
    greedy = GreedyAgent()
    assert scores(layout, [greedy, greedy], "classic", 400, 1)[0] >= least


@pytest.mark.parametrize("rules", r.RULES)
def test_delivers_on_every_layout_and_never_freezes(rules: str) -> None:
    """All two-seat kitchens at once: each delivers, and no 10 ticks pass in which nothing happens.

    Nothing goes unpaid, but for the soup of two onions that tutorial_1 starts with and nobody ordered.
    """
    names = usable_layouts()
    env = OvercookedVectorEnv(names, len(names), horizon=301, rules=rules)
    greedy, view, rows = GreedyAgent(), KitchenView(env), np.arange(len(names))
    greedy.start(len(names), 2, 0)
    still, worst = np.zeros(len(names), int), np.zeros(len(names), int)
    for _ in range(300):
        view.invalidate()
        before = env.state.copy()
        acts = np.stack([greedy.act(view, rows, np.full(len(names), p)) for p in range(2)], axis=1)
        env.step(acts)
        changed = (env.state[:, r.PLAYER :] != before[:, r.PLAYER :]).any(axis=1)  # a cooking pot counts as well
        still = np.where(changed, 0, still + 1)
        worst = np.maximum(worst, still)
    counts = env.event_counts()
    delivered = counts[:, :, EVENTS.index("delivery")].sum(axis=1)
    unpaid = counts[:, :, EVENTS.index("delivery_unpaid")].sum(axis=1)
    assert len(names) >= 40
    assert [name for name, number in zip(names, delivered, strict=True) if number == 0] == []
    assert {name: int(ticks) for name, ticks in zip(names, worst, strict=True) if ticks > 10} == {}
    assert {name for name, number in zip(names, unpaid, strict=True) if number} <= {"tutorial_1"}
    assert unpaid.sum() <= 1


@pytest.mark.parametrize(("layout", "least"), [("cramped_room_single", 160), ("multiplayer_schelling", 240)])
def test_one_and_four_seats(layout: str, least: float) -> None:
    greedy = GreedyAgent()
    players = load_layout(layout).num_players
    assert scores(layout, [greedy] * players, "classic", 400, 1)[0] >= least


@pytest.mark.parametrize("rules", r.RULES)
@pytest.mark.parametrize("seat", [0, 1])
def test_works_alone_wherever_that_is_possible(seat: int, rules: str) -> None:
    """The other chef never moves; wherever all it takes can be reached around it, soups are served."""
    names = [name for name in usable_layouts() if is_possible_alone(load_layout(name), seat, rules)]
    seats: list[Agent] = [StayAgent(), StayAgent()]
    seats[seat] = GreedyAgent()
    env = OvercookedVectorEnv(names, len(names), horizon=301, rules=rules)
    play(env, seats, 300)
    delivered = env.event_counts()[:, :, EVENTS.index("delivery")].sum(axis=1)
    assert len(names) >= 20
    assert [name for name, number in zip(names, delivered, strict=True) if number == 0] == []


def test_works_beside_a_chef_that_acts_at_random() -> None:
    returns = scores(list(OPEN) * 3, [GreedyAgent(), RandomAgent()], "overcooked-ai", 400, 3 * len(OPEN))
    means = returns.reshape(3, len(OPEN)).mean(axis=0)
    assert (means >= 30).all(), dict(zip(OPEN, means, strict=True))


def test_bonus_orders_are_cooked() -> None:
    """counter_circuit pays 34 for onion and tomato, twice that as a bonus order; nothing else pays more per tick."""
    greedy = GreedyAgent()
    env = OvercookedVectorEnv("counter_circuit", 1, horizon=401, rules="overcooked-ai")
    play(env, [greedy, greedy], 400)
    served = env.event_counts()[0, :, EVENTS.index("delivery")].sum()
    assert served >= 6
    assert env.episode_return()[0] == 68 * served


@pytest.mark.parametrize("held", [("onion", "dish"), ("dish", "onion"), ("onion", "onion")])
def test_face_to_face_in_a_corridor(held: tuple[str, str]) -> None:
    """Each wants past the other in a lane where only the order of the two can be kept or one gives way."""
    env = OvercookedVectorEnv("small_corridor", 1, horizon=400)
    state = env.state_dict(0)
    for p, (x, way) in enumerate([(5, (1, 0)), (6, (-1, 0))]):
        state["players"][p] |= {"position": (x, 3), "orientation": way}
        state["players"][p]["held_object"] = {"name": held[p], "position": (x, 3)}
    env.load_state_dict(0, state)
    greedy = GreedyAgent()
    play(env, [greedy, greedy], 120)
    counts = env.event_counts()[0].sum(axis=0)
    assert counts[EVENTS.index("placement_in_pot")] >= 3
    assert counts[EVENTS.index("collision")] <= 4


def test_gives_way_to_somebody_who_pushes() -> None:
    """The pusher starts right of the cook in a lane four cells from its left end, and gets there."""
    env = OvercookedVectorEnv("small_corridor", 1, horizon=400)
    state = env.state_dict(0)
    for p, x in enumerate((5, 6)):
        state["players"][p] |= {"position": (x, 3), "orientation": (-1, 0)}
    env.load_state_dict(0, state)
    play(env, [GreedyAgent(), Pusher()], 40)
    assert env.state_dict(0)["players"][1]["position"][0] <= 2


def test_one_lane_is_worked_hand_to_hand() -> None:
    """m_shaped_s is one lane: the left chef cannot be passed, so the right one hands it onions over a counter."""
    greedy = GreedyAgent()
    env = OvercookedVectorEnv("m_shaped_s", 1, horizon=401)
    play(env, [greedy, greedy], 400)
    assert env.episode_return()[0] >= 120
    assert env.event_counts()[0, :, EVENTS.index("put_onion_on_counter")].sum() > 0


def test_same_seed_same_game() -> None:
    def game(seed: int) -> np.ndarray:
        env = OvercookedVectorEnv("coordination_ring", 2, horizon=400)
        return np.array(play(env, [GreedyAgent(skill=0.8), RandomAgent()], 80, seed))

    first = game(3)
    assert (first == game(3)).all()
    assert (first[:, :, 0] != game(4)[:, :, 0]).any()


def test_a_game_does_not_depend_on_its_batch() -> None:
    def game(layouts: list[str], seeds: list[int]) -> np.ndarray:
        env = OvercookedVectorEnv(layouts, len(layouts), horizon=400)
        return np.array(play(env, [GreedyAgent(skill=0.7)] * 2, 60, np.array(seeds)))  # type: ignore[arg-type]

    together = game(["cramped_room", "corridor", "cramped_room"], [5, 6, 7])
    assert (together[:, 2] == game(["cramped_room"], [7])[:, 0]).all()


def test_begin_episode_forgets() -> None:
    """After a reset the cook plays as in its first episode, whatever it made of its partner before."""
    env = OvercookedVectorEnv("cramped_room", 1, horizon=60)
    view, rows, greedy = KitchenView(env), np.arange(1), GreedyAgent()
    greedy.start(1, 2, 0)
    games = []
    for _ in range(2):
        greedy.begin_episode(rows)
        acts = []
        for _ in range(60):
            view.invalidate()
            acts.append([greedy.act(view, rows, np.array([0]))[0], 4])
            env.step(np.array([acts[-1]]))
        games.append(acts)
    assert games[0] == games[1]


def test_skill_slows_it_down() -> None:
    fast, slow = GreedyAgent(), GreedyAgent(skill=0.3)
    quick = scores("cramped_room", [fast, fast], "classic", 400, 1)[0]
    assert 0 < scores("cramped_room", [slow, slow], "classic", 400, 1)[0] < quick
    with pytest.raises(ValueError, match="skill must be in"):
        GreedyAgent(skill=0)


def test_a_decision_takes_less_than_5_ms() -> None:
    """Bar of one tick for one kitchen, 99th percentile of processor time, in the layout with the longest ways."""
    env = OvercookedVectorEnv("corridor", 1, horizon=400)
    view, rows, greedy, took = KitchenView(env), np.arange(1), GreedyAgent(), []
    greedy.start(1, 2, 0)
    for _ in range(300):
        acts = np.zeros((1, 2), np.int64)
        for p in range(2):
            began = time.process_time()
            acts[0, p] = greedy.act(view, rows, np.array([p]))[0]
            took.append(time.process_time() - began)
        view.invalidate()
        env.step(acts)
    assert np.percentile(took, 99) < 5e-3


def test_steps_to_face_a_cell_counted_by_hand() -> None:
    """In a lane of five cells: facing the pot overhead costs the walk and one turn, unless one walks into the look."""
    kit = build_kit(load_layout(CORRIDOR), "classic")
    steps = np.empty(27, np.int16)
    walk.py_func(kit.plan.facing, kit.plan.floor, 11, EAST, steps)  # cell (2, 1) of 9 columns, looking east
    assert steps[10] == 1  # onions, west: one turn
    assert steps[4] == 3  # pot above (4, 1): two steps, one turn
    assert steps[22] == 3  # hatch below it
    assert steps[16] == 4  # dishes, east of (6, 1): four steps, and it already looks there
    assert steps[8] == FAR  # a corner
    assert kit.plan.leg[0, 4, 22] == 1
    assert kit.plan.leg[0, 10, 4] == 3
    assert kit.plan.spine[[11, 15]].tolist() == [0, 4]


def test_aims_follow_orders_and_supply() -> None:
    """Orders of bonus_order_test: three onions 10, three tomatoes 20 and onion-tomato 15, the last two twice that."""
    kit = build_kit(load_layout("bonus_order_test"), "overcooked-ai")
    onions_only, both = 1, 3
    assert kit.aim[onions_only, 0, 0].tolist() == [3, 0]
    assert kit.aim[both, 1, 0].tolist() == [1, 1]
    assert kit.aim[onions_only, 0, 1].tolist() == [1, 1]
    assert kit.aim[both, 0, 2].tolist() == [0, 3]
    assert kit.worth[both, 2, 1] == 0
    assert kit.aim[both, 2, 1].tolist() == [2, 1]  # worthless: cook it away as it is
    classic = build_kit(load_layout("bonus_order_test"), "classic")
    assert classic.aim[both, 2, 0].sum() == 3


@pytest.mark.parametrize("held", ["onion", "tomato"])
@pytest.mark.parametrize("inside", ["onion", "tomato"])
def test_classic_cooks_never_count_on_mixing_a_soup(held: str, inside: str) -> None:
    env = OvercookedVectorEnv("cramped_room_tomato", 1, mask_useless_actions=True)
    pot, state = (2, 0), env.state_dict(0)
    soup = {"name": "soup", "position": pot, "_ingredients": [{"name": inside, "position": pot}]}
    chefs = [{**chef, "held_object": {"name": held, "position": chef["position"]}} for chef in state["players"]]
    env.load_state_dict(0, {**state, "players": chefs, "objects": [soup]})
    cook = GreedyAgent()
    play(env, [cook, cook], 100)
    assert env.episode_return()[0] >= 40


def test_a_pot_whose_rest_cannot_be_had_is_left_alone_in_classic() -> None:
    env = OvercookedVectorEnv("XPXPX\nO1  O\nX  2X\nXDXSX", 1)
    pot, state = (1, 0), env.state_dict(0)
    soup = {"name": "soup", "position": pot, "_ingredients": [{"name": "tomato", "position": pot}]}
    env.load_state_dict(0, {**state, "objects": [soup]})
    cook = GreedyAgent()
    play(env, [cook, cook], 200)
    assert env.episode_return()[0] >= 60
    assert [len(thing["_ingredients"]) for thing in env.state_dict(0)["objects"] if thing["position"] == pot] == [1]


# ------------------------------------------------------------------------------------- it never stays stuck

# Things must be passed on between two rooms although each has a pot (a kitchen of ZSC-Eval, "random0_hard").
EACH_HAS_A_POT = "XXXXXOOX\nX   X  P\nP  XX 2S\nX1 X   X\nXDXXXXXX"
SOUPS_COME_BACK = "XXXXXXXX\nXP   1PX\nXXXXXDXX\nX   2  X\nXXXSOXXX"  # generated:128: all counters full of onions
NO_ORDER_OF_ROUTES = "XXXPX\nX O X\nX2  D\nD1SSX\nXPXXX"  # generated:106: whoever goes first traps the other
ONE_COUNTER = "XXXXXXX\nO XX  P\nD1 X 2X\nX XXX S\nXXXXXXX"


@pytest.mark.parametrize("rules", r.RULES)
@pytest.mark.parametrize("layout", [EACH_HAS_A_POT, SOUPS_COME_BACK, NO_ORDER_OF_ROUTES, ONE_COUNTER])
def test_hands_things_on_without_a_deadlock(layout: str, rules: str) -> None:
    greedy = GreedyAgent()
    assert scores(layout, [greedy, greedy], rules, 400, 1)[0] >= 100


def two_rooms(counters: int, places: Sequence[int]) -> str:
    """Onions, dishes, a pot, the hatch and another pot in the left (0) or right (1) room; 1..3 counters between."""
    rows = [list("XXXXXXX"), *(list("X  X  X") for _ in range(3)), list("XXXXXXX")]
    spots = [[(1, 0), (0, 1), (3, 0), (4, 1), (4, 2)], [(1, 6), (0, 5), (3, 6), (4, 5), (4, 4)]]
    for tile, side in zip("ODPSP", places, strict=True):
        y, x = spots[side].pop(0)
        rows[y][x] = tile
    for y in range(1, 4 - counters):
        rows[y][2] = "X"
    rows[2][1], rows[2][5] = "1", "2"
    return "\n".join("".join(row) for row in rows)


@pytest.mark.parametrize("rules", r.RULES)
def test_any_split_of_the_stations_between_two_rooms_is_served(rules: str) -> None:
    kitchens = [two_rooms(n, places) for n in (1, 2, 3) for places in itertools.product((0, 1), repeat=5)]
    greedy = GreedyAgent()
    returns = scores(kitchens, [greedy, greedy], rules, 400, len(kitchens))
    assert [kitchen for kitchen, points in zip(kitchens, returns, strict=True) if points == 0] == []


@pytest.mark.slow
@pytest.mark.parametrize("rules", r.RULES)
def test_scores_in_every_packaged_and_200_generated_kitchens(rules: str) -> None:
    names = [*usable_layouts(), *(f"generated:{seed}" for seed in range(200))]
    greedy = GreedyAgent()
    returns = scores(names, [greedy, greedy], rules, 400, len(names))
    assert [name for name, points in zip(names, returns, strict=True) if points == 0] == []
