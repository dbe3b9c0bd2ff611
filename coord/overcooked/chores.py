"""Who does what: divides a kitchen's open work among its chefs, for the scripted player (`coord.agents.greedy`).

Every tick the work is listed anew from the packed row (ingredients that pots lack, pots to start, soups to plate and to
serve) and given out in order of urgency, then of steps: first to chefs whose hands already hold something for it, then
to free hands. Each chef thereby gets one cell to go to and interact with. Where a chef cannot reach the place an item
belongs to, items hop over counters that two chefs share; `hop` counts the hand-overs to the pots and to the hatch.
A pot may also lack what only chefs at another pot can fetch (`starved`): they send it on in the same way.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from coord.overcooked.layouts import RECIPES, Layout
from coord.overcooked.planner import FAR, Floorplan, build_floorplan, inner, inner_alloc
from coord.overcooked.rules import (
    CONTENT,
    COUNTER,
    DISH,
    DISH_DISPENSER,
    NOTHING,
    ONION,
    ONION_DISPENSER,
    POT,
    SEQ_MASK,
    SERVING,
    SOUP,
    TOMATO,
    Array,
    Tables,
    build_tables,
    cooking_tick,
    ingredients_of,
)

TO_POT, TO_SERVING, TO_POT_K = 0, 1, 2  # rows of Chores.hop; from TO_POT_K on, one for each pot
SOON = 99  # ticks to wait for something whose time is not known yet
START, SERVE, PLATE, FILL, PLATE_LATER, FILL_LATER = range(6)  # tasks for free hands, most urgent first
TIER = 1000.0  # score between two ranks of urgency, more than any walk
SLACK = 8  # a dish is urgent from this many ticks before it must be fetched: about one trip with an ingredient
GOOD_ENOUGH = 0.75  # share of the best worth that a pot may lose by taking what is already in hand


class Kit(NamedTuple):
    """What never changes in a layout under one rule set; C cells, K pots."""

    plan: Floorplan
    terrain: np.ndarray  # int8 [C]
    stations: np.ndarray  # int16 [...] cells other than floor that a chef can face
    pots: np.ndarray  # int16 [K]
    cook_time: np.ndarray  # int16 [16] by ingredient sequence
    mix: np.ndarray  # int8 [16, 2] onions and tomatoes of each ingredient sequence
    aim: np.ndarray  # int8 [4, 4, 4, 2] by supply, onions and tomatoes in the pot: what it should hold in the end
    worth: np.ndarray  # float32 [4, 4, 4] points per tick of that aim, 0 if nothing paid can come of it
    classic: bool  # pots start by themselves, and hold one kind of ingredient


class Scene(NamedTuple):
    """The present state as one player sees it; P seats."""

    row: np.ndarray  # int16 [S] packed row
    pose: np.ndarray  # int64 [P] cell * 4 + orientation
    cell: np.ndarray  # int64 [P]
    held: np.ndarray  # int64 [P] object code
    dist: np.ndarray  # int16 [P, C] steps until the chef faces each cell, FAR if it cannot
    helps: np.ndarray  # bool [P] whether the chef is counted on to do its share
    last: np.ndarray  # int16 [P] goal given at the previous tick


class Chores(NamedTuple):
    """Open work and who took it."""

    goal: np.ndarray  # int64 [P] cell to interact with, -1 for none
    wait: np.ndarray  # int64 [P] ticks until that has an effect
    lack: np.ndarray  # int64 [K, 2] onions and tomatoes to add now
    later: np.ndarray  # int64 [K, 2] and once the present soup is out
    left: np.ndarray  # int64 [K] ticks until the soup is ready, -1 while idle
    plate: np.ndarray  # int64 [K] 1: a soup cooks or is ready and nobody brings a dish; 2: it is being filled
    start: np.ndarray  # bool [K] holds what it should and must be started
    taken: np.ndarray  # bool [C] counters somebody is on the way to
    hop: np.ndarray  # int64 [2 + K, P] hand-overs to the nearest pot, to the serving hatch, and to each pot
    starved: np.ndarray  # bool [K, 3] whether who reaches the pot can fetch no onion, tomato, dish
    supply: np.ndarray  # int64 [1] ingredients that can be had: bit 0 onions, bit 1 tomatoes


# --------------------------------------------------------------------------- tables


def build_kit(layout: Layout, rules: str) -> Kit:
    """Tables of one layout under `rules`."""
    tab = build_tables([layout], rules)
    terrain = tab.terrain[0]
    plan = build_floorplan(terrain, tab.facing[0])
    stations = np.array([cell for cell in range(len(terrain)) if (plan.leg[:, cell, cell] == 0).any()], np.int16)
    mix = [[ingredients_of(seq).count(name) if seq > 1 else 0 for name in ("onion", "tomato")] for seq in range(16)]
    rate = _recipe_rates(layout, tab, plan, rules)
    aim, worth = np.zeros((4, 4, 4, 2), np.int8), np.zeros((4, 4, 4), np.float32)
    for supply in range(4):
        for onions, tomatoes in itertools.product(range(4), repeat=2):
            best = _best_aim(rate, (supply & 1, supply >> 1), (onions, tomatoes))
            worth[supply, onions, tomatoes], aim[supply, onions, tomatoes] = best
    kinds = np.array(mix, np.int8)
    return Kit(plan, terrain, stations, tab.pots[0], tab.cook_time[0], kinds, aim, worth, rules == "classic")


def _trip(plan: Floorplan, terrain: np.ndarray, kind: int, goal: int) -> float:
    """Steps between the closest pair of the two kinds of station; a long walk's worth if no room holds both."""
    legs = plan.leg[:, terrain == kind][:, :, terrain == goal]
    nearest = legs.min() if legs.size else FAR
    return float(nearest) if nearest < FAR else 8.0


def _recipe_rates(layout: Layout, tab: Tables, plan: Floorplan, rules: str) -> dict[tuple[int, int], float]:
    """Points per tick of each paid mix (onions, tomatoes): its value over the slower of pots and chefs."""
    terrain = tab.terrain[0]
    served = 2 + _trip(plan, terrain, DISH_DISPENSER, POT) + _trip(plan, terrain, POT, SERVING)
    rate = {}
    for seq in range(2, 16):
        recipe = RECIPES[tab.recipe[seq]]
        value = float(tab.value[0, seq])
        if rules != "classic":
            value *= layout.order_bonus if recipe in layout.bonus_orders else recipe in layout.all_orders
        filling = sum(2 + 2 * _trip(plan, terrain, ONION_DISPENSER + (name == "tomato"), POT) for name in recipe)
        pots = (float(tab.cook_time[0, seq]) + filling / 2 + 3) / len(tab.pots[0])
        chefs = (filling + served) / layout.num_players
        if value > 0:
            rate[recipe.count("onion"), recipe.count("tomato")] = min(value, 1e6) / max(pots, chefs)
    return rate


def _best_aim(
    rate: dict[tuple[int, int], float], supply: tuple[int, int], inside: tuple[int, int]
) -> tuple[float, tuple[int, int]]:
    """(worth, mix) of the best paid mix that this content can still become with the ingredients that can be had.

    Content of which nothing paid can come is left as it is: to be started at once, or (classic) for who has the rest.
    """
    paid = []
    for mix, value in rate.items():
        extra = [mix[x] - inside[x] for x in range(2)]
        if min(extra) >= 0 and all(extra[x] == 0 or supply[x] for x in range(2)):
            paid.append((value, mix))
    return max(paid) if paid else (0.0, inside)


# --------------------------------------------------------------------------- the work


@inner
def content(scene: Scene, cell: int) -> int:
    """What lies on a counter or stands in a pot."""
    return scene.row[CONTENT + cell]


@inner
def missing(chores: Chores, k: int) -> int:
    """Ingredients that pot `k` lacks."""
    return chores.lack[k, 0] + chores.lack[k, 1]


@inner
def find_supply(kit: Kit, scene: Scene, hop: Array) -> int:
    """Bits of the ingredients that chefs who help can fetch and bring, directly or hand to hand, to a pot."""
    supply = 0
    for cell in kit.stations:
        item = content(scene, cell) if kit.terrain[cell] == COUNTER else kit.terrain[cell] - ONION_DISPENSER + ONION
        if item != ONION and item != TOMATO:
            continue
        for i in range(len(hop)):
            if scene.helps[i] and scene.dist[i, cell] < FAR and hop[i] < FAR:
                supply |= item
    return supply


@inner
def list_work(kit: Kit, scene: Scene, chores: Chores) -> None:
    """Fills in what each pot lacks, and whether it is to be started or plated."""
    aim = kit.aim[chores.supply[0]]
    for k in range(len(kit.pots)):
        inside = content(scene, kit.pots[k])
        seq = inside & SEQ_MASK if inside else 1
        tick = cooking_tick(inside) if inside else -1
        if tick >= 0:
            chores.left[k], chores.plate[k] = max(0, kit.cook_time[seq] - tick), 1
            for x in range(2):
                chores.later[k, x] = aim[0, 0, x]
            continue
        onions, tomatoes = kit.mix[seq, 0], kit.mix[seq, 1]
        chores.left[k], chores.plate[k] = -1, 2
        chores.lack[k, 0] = aim[onions, tomatoes, 0] - onions
        chores.lack[k, 1] = aim[onions, tomatoes, 1] - tomatoes
        done = onions + tomatoes > 0 and missing(chores, k) == 0
        if done and kit.classic:  # part of a soup whose rest cannot be had: nobody need wait for it
            chores.plate[k] = 0
        chores.start[k] = done and not kit.classic


@inner
def share_counter(kit: Kit, scene: Scene, i: int, j: int) -> bool:
    """Whether two chefs can face the same counter."""
    for cell in kit.stations:
        if kit.terrain[cell] == COUNTER and scene.dist[i, cell] < FAR and scene.dist[j, cell] < FAR:
            return True
    return False


@inner
def count_hops(kit: Kit, scene: Scene, kind: int, pot: int, hop: Array) -> None:
    """Writes into hop int64 [P] the hand-overs between each chef and stations of a kind; FAR if there is no chain.

    pot: the cell of the only station that counts, -1 for all of the kind.
    """
    for i in range(len(hop)):
        hop[i] = FAR
        for cell in kit.stations:
            if kit.terrain[cell] == kind and (pot < 0 or cell == pot) and scene.dist[i, cell] < FAR:
                hop[i] = 0
    for _ in range(len(hop) - 1):
        for i in range(len(hop)):
            for j in range(len(hop)):
                if hop[j] + 1 < hop[i] and share_counter(kit, scene, i, j):
                    hop[i] = hop[j] + 1


@inner
def find_starved(kit: Kit, scene: Scene, chores: Chores) -> None:
    """Fills in which items must come to a pot from chefs that reach another pot but not this one."""
    for k in range(len(kit.pots)):
        hop = chores.hop[TO_POT_K + k]
        for x in range(3):
            chores.starved[k, x] = True
            for i in range(len(hop)):
                if hop[i] == 0 and scene.helps[i] and nearest(kit, scene, i, ONION_DISPENSER + x) >= 0:
                    chores.starved[k, x] = False


@inner
def wants(chores: Chores, k: int, x: int, now: bool) -> int:
    """How many more of an item (0 onion, 1 tomato, 2 dish) pot `k` takes, now or at all."""
    if x == 2:
        return chores.plate[k] == 1 if now else chores.plate[k] > 0
    return chores.lack[k, x] + (0 if now else chores.later[k, x])


@inner
def take_wanted(chores: Chores, k: int, x: int) -> None:
    """One item less (0 onion, 1 tomato, 2 dish) that pot `k` needs now."""
    if x == 2:
        chores.plate[k] = 0
    else:
        chores.lack[k, x] -= 1


@inner
def is_import(chores: Chores, i: int, k: int, x: int) -> bool:
    """Whether chef `i`, who works at another pot, can send items of this kind on to pot `k`, which needs that."""
    return chores.starved[k, x] and chores.hop[TO_POT, i] == 0 and 0 < chores.hop[TO_POT_K + k, i] < FAR


@inner
def is_awaited(scene: Scene, chores: Chores, i: int, cell: int, item: int) -> bool:
    """Whether an item on a counter is meant for a pot that chef `i` does not reach."""
    x = item - ONION
    for k in range(len(chores.left)):
        wanted = is_import(chores, i, k, x) and wants(chores, k, x, False) > 0
        if wanted and leads_on(scene, chores.hop[TO_POT_K + k], i, cell):
            return True
    return False


@inner
def leads_on(scene: Scene, hop: Array, i: int, cell: int) -> bool:
    """Whether some chef nearer to the goal than `i` (in hand-overs) can face this cell."""
    for j in range(len(hop)):
        if hop[j] < hop[i] and scene.dist[j, cell] < FAR:
            return True
    return False


@inner
def onward(kit: Kit, scene: Scene, hop: Array, i: int, cell: int, kind: int) -> int:
    """Steps from a shared counter to the nearest station of a kind, for the chef on the other side."""
    best = 20
    for j in range(len(hop)):
        if hop[j] < hop[i] and scene.dist[j, cell] < FAR:
            for goal in kit.stations:
                if kit.terrain[goal] == kind:
                    best = min(best, kit.plan.leg[kit.plan.room[scene.cell[j]], cell, goal])
    return best


@inner
def hand_over(kit: Kit, scene: Scene, chores: Chores, i: int, way: int) -> tuple[int, int, int]:
    """(cell, steps there and beyond, how many) of free counters that take an item of `i` nearer; cell -1 if none."""
    kind = SERVING if way == TO_SERVING else POT
    best, cost, free = -1, FAR, 0
    for cell in kit.stations:
        usable = kit.terrain[cell] == COUNTER and content(scene, cell) == NOTHING and not chores.taken[cell]
        if not usable or scene.dist[i, cell] >= FAR or not leads_on(scene, chores.hop[way], i, cell):
            continue
        free += 1
        steps = scene.dist[i, cell] + onward(kit, scene, chores.hop[way], i, cell, kind)
        if steps < cost:
            best, cost = cell, steps
    return best, cost, free


@inner
def find_item(kit: Kit, scene: Scene, chores: Chores, i: int, item: int, goal: int) -> tuple[int, float]:
    """(cell, ticks) of the place where chef `i` gets an item soonest, the way on to `goal` (-1: none) included.

    Items on counters are left alone if they lead on to a chef nearer to the pots, or somebody is on the way to them.
    """
    best, cost = -1, float(FAR)
    room = kit.plan.room[scene.cell[i]]
    for cell in kit.stations:
        if scene.dist[i, cell] >= FAR or chores.taken[cell]:
            continue
        if kit.terrain[cell] == COUNTER:
            if content(scene, cell) != item or leads_on(scene, chores.hop[TO_POT], i, cell):
                continue
            if is_awaited(scene, chores, i, cell, item):
                continue
        elif kit.terrain[cell] != ONION_DISPENSER + item - ONION:
            continue
        ticks = scene.dist[i, cell] + 1.0
        if goal >= 0:
            ticks += kit.plan.leg[room, cell, goal] + 1.0
        ticks -= 0.5 * (kit.terrain[cell] == COUNTER) + 1.5 * (cell == scene.last[i])
        if ticks < cost:
            best, cost = cell, ticks
    return best, cost


# --------------------------------------------------------------------------- full hands


@inner
def nearest(kit: Kit, scene: Scene, i: int, kind: int) -> int:
    """Station of a kind that chef `i` faces soonest, -1 if none."""
    best, cost = -1, FAR
    for cell in kit.stations:
        if kit.terrain[cell] == kind and scene.dist[i, cell] < cost:
            best, cost = cell, scene.dist[i, cell]
    return best


@inner
def carry_soups(kit: Kit, scene: Scene, chores: Chores) -> None:
    """Soups in hands go to the serving hatch, or towards it."""
    for i in range(len(scene.held)):
        if not scene.helps[i] or scene.held[i] < SOUP:
            continue
        if chores.hop[TO_SERVING, i] == 0:
            chores.goal[i] = nearest(kit, scene, i, SERVING)
        elif chores.hop[TO_SERVING, i] < FAR:
            pass_on(kit, scene, chores, i, TO_SERVING)


@inner
def lift_soups(kit: Kit, scene: Scene, chores: Chores) -> None:
    """Soups that lie where nobody nearer to the hatch reaches them: free hands fetch them while there is a way on."""
    hop = chores.hop[TO_SERVING]
    for i in range(len(scene.held)):
        if not scene.helps[i] or scene.held[i] != NOTHING or chores.goal[i] >= 0 or not 0 < hop[i] < FAR:
            continue
        soup = lying_soup(kit, scene, chores, i)
        over = hand_over(kit, scene, chores, i, TO_SERVING)[0] if soup >= 0 else -1
        if over >= 0:
            chores.goal[i] = soup
            chores.taken[soup] = True
            chores.taken[over] = True


@inner
def lying_soup(kit: Kit, scene: Scene, chores: Chores, i: int) -> int:
    """The nearest soup on a counter that chef `i` must take on towards the hatch, -1 if none."""
    best, cost = -1, FAR
    for cell in kit.stations:
        if kit.terrain[cell] != COUNTER or content(scene, cell) < SOUP or chores.taken[cell]:
            continue
        if scene.dist[i, cell] < cost and not leads_on(scene, chores.hop[TO_SERVING], i, cell):
            best, cost = cell, scene.dist[i, cell]
    return best


@inner
def pass_on(kit: Kit, scene: Scene, chores: Chores, i: int, way: int) -> None:
    """Sends chef `i` to a shared counter with what it holds."""
    cell, _, _ = hand_over(kit, scene, chores, i, way)
    chores.goal[i] = cell
    if cell >= 0:
        chores.taken[cell] = True


@inner
def fits(kit: Kit, scene: Scene, chores: Chores, k: int, x: int) -> bool:
    """Whether pot `k` takes one more of ingredient `x` (0 onion, 1 tomato) now, at little loss of worth."""
    if chores.lack[k, x] > 0:
        return True
    if missing(chores, k) == 0:
        return False
    seq = max(content(scene, kit.pots[k]) & SEQ_MASK, 1)
    onions, tomatoes = kit.mix[seq, 0], kit.mix[seq, 1]
    if onions + tomatoes >= 3:
        return False
    worth = kit.worth[chores.supply[0]]
    return worth[onions + (x == 0), tomatoes + (x == 1)] > GOOD_ENOUGH * worth[onions, tomatoes]


@inner
def carry_cost(kit: Kit, scene: Scene, chores: Chores, i: int, k: int, soon: bool) -> int:
    """Ticks until what `i` holds can go to pot `k`; FAR if it does not belong there (now, or with `soon` later)."""
    held, steps = scene.held[i], scene.dist[i, kit.pots[k]]
    if steps >= FAR:
        return FAR
    if held == DISH:
        if chores.plate[k] == (2 if soon else 1):
            return max(steps, chores.left[k]) + (10 * missing(chores, k) if soon else 0)
        return FAR
    x = held - ONION
    if soon:
        return max(steps, chores.left[k]) if chores.later[k, x] > 0 else FAR
    return steps - 2 * (3 - missing(chores, k)) if fits(kit, scene, chores, k, x) else FAR


@inner
def carry_to_pots(kit: Kit, scene: Scene, chores: Chores, soon: bool) -> None:
    """Pairs dishes and ingredients in hands with pots, cheapest pair first."""
    while True:
        chef, pot, cost = -1, -1, FAR
        for i in range(len(scene.held)):
            if chores.goal[i] >= 0 or not scene.helps[i] or not NOTHING < scene.held[i] <= DISH:
                continue
            for k in range(len(kit.pots)):
                ticks = carry_cost(kit, scene, chores, i, k, soon)
                if ticks < cost:
                    chef, pot, cost = i, k, ticks
        if chef < 0:
            return
        take_carry(kit, scene, chores, chef, pot, soon)


@inner
def take_carry(kit: Kit, scene: Scene, chores: Chores, i: int, k: int, soon: bool) -> None:
    """Chef `i` brings what it holds to pot `k`."""
    chores.goal[i] = kit.pots[k]
    chores.wait[i] = SOON if soon else max(0, chores.left[k])
    if scene.held[i] == DISH:
        chores.plate[k] = 0
        return
    x = scene.held[i] - ONION
    open_ = chores.later if soon else chores.lack
    if kit.classic and open_[k, x] == 0:  # the empty pot becomes one of the other kind
        open_[k, x], open_[k, 1 - x] = open_[k, 1 - x], 0
    open_[k, x if open_[k, x] > 0 else 1 - x] -= 1


@inner
def pass_to_pots(kit: Kit, scene: Scene, chores: Chores) -> None:
    """Dishes and ingredients in hands that reach no pot go over a shared counter."""
    for i in range(len(scene.held)):
        if scene.helps[i] and NOTHING < scene.held[i] <= DISH and 0 < chores.hop[TO_POT, i] < FAR:
            pass_on(kit, scene, chores, i, TO_POT)


@inner
def send_to_pots(kit: Kit, scene: Scene, chores: Chores) -> None:
    """Items in hands that a pot out of reach needs now, and gets from nowhere else, go towards it."""
    for i in range(len(scene.held)):
        if chores.goal[i] >= 0 or not scene.helps[i] or not NOTHING < scene.held[i] <= DISH:
            continue
        x = scene.held[i] - ONION
        for k in range(len(kit.pots)):
            ahead = lying_ahead(kit, scene, chores, i, scene.held[i], TO_POT_K + k)
            if chores.goal[i] < 0 and is_import(chores, i, k, x) and wants(chores, k, x, True) > ahead:
                pass_on(kit, scene, chores, i, TO_POT_K + k)
                take_wanted(chores, k, x)


# --------------------------------------------------------------------------- free hands


@inner
def offer(best: Array, score: float, task: int, k: int, x: int, cell: int) -> None:
    """Keeps the task with the lowest score in best float64 [5]."""
    if cell >= 0 and score < best[0]:
        best[0], best[1], best[2], best[3], best[4] = score, task, k, x, cell


@inner
def offer_pot_work(kit: Kit, scene: Scene, chores: Chores, i: int, best: Array) -> None:
    """Tasks for a chef that reaches pots: start them, bring dishes and ingredients."""
    for k in range(len(kit.pots)):
        pot = kit.pots[k]
        if scene.dist[i, pot] >= FAR:
            continue
        if chores.start[k]:
            offer(best, START * TIER + scene.dist[i, pot], START, k, 0, pot)
        for x in range(2):
            if chores.lack[k, x] > 0 or chores.later[k, x] > 0:
                cell, ticks = find_item(kit, scene, chores, i, ONION + x, pot)
                task = FILL if chores.lack[k, x] > 0 else FILL_LATER
                offer(best, task * TIER + ticks + 3 * missing(chores, k) + max(0, chores.left[k]), task, k, x, cell)
        if chores.plate[k] > 0:
            offer_plate(kit, scene, chores, i, k, best)


@inner
def offer_plate(kit: Kit, scene: Scene, chores: Chores, i: int, k: int, best: Array) -> None:
    """A dish for pot `k`: urgent if an ingredient brought first would make the soup wait."""
    pot, room = kit.pots[k], kit.plan.room[scene.cell[i]]
    cell, ticks = find_item(kit, scene, chores, i, DISH, pot)
    if cell < 0:
        return
    serve = 20.0
    for goal in kit.stations:
        if kit.terrain[goal] == SERVING:
            serve = min(serve, kit.plan.leg[room, pot, goal])
    urgent = chores.plate[k] == 1 and chores.left[k] - ticks < SLACK
    task = PLATE if urgent else PLATE_LATER
    offer(best, task * TIER + max(ticks, chores.left[k]) + serve, task, k, 0, cell)


@inner
def lying_ahead(kit: Kit, scene: Scene, chores: Chores, i: int, item: int, way: int) -> int:
    """How many of an item lie where a chef nearer to the goal will find them."""
    count = 0
    for cell in kit.stations:
        if kit.terrain[cell] == COUNTER and content(scene, cell) == item and not chores.taken[cell]:
            count += leads_on(scene, chores.hop[way], i, cell)
    return count


@inner
def count_ways(kit: Kit, scene: Scene, chores: Chores, i: int, way: int) -> int:
    """How many counters, free or not, lead from chef `i` towards the goal."""
    count = 0
    for cell in kit.stations:
        if kit.terrain[cell] == COUNTER and scene.dist[i, cell] < FAR:
            count += leads_on(scene, chores.hop[way], i, cell)
    return count


@inner
def is_way_back(chores: Chores, i: int) -> bool:
    """Whether soups come back over the counters on which chef `i` sends things to the pots."""
    to_pot, to_serving = chores.hop[TO_POT], chores.hop[TO_SERVING]
    for j in range(len(to_pot)):
        if to_pot[j] < to_pot[i] and to_serving[i] < to_serving[j] < FAR:
            return True
    return False


@inner
def is_kept_free(kit: Kit, scene: Scene, chores: Chores, i: int, back: bool) -> bool:
    """Whether the last free counter from chef `i` to the pots is for a dish to come, or (`back`) a soup to return.

    It is as well while ingredients lie on the others.
    """
    if lying_ahead(kit, scene, chores, i, ONION, TO_POT) + lying_ahead(kit, scene, chores, i, TOMATO, TO_POT) > 0:
        return True
    dishes, soups = -lying_ahead(kit, scene, chores, i, DISH, TO_POT), 0
    for k in range(len(kit.pots)):
        dishes += wants(chores, k, 2, False)
        soups += chores.left[k] >= 0
    for j in range(len(scene.held)):
        soups += scene.held[j] >= SOUP or lying_soup(kit, scene, chores, j) >= 0
    return dishes > 0 or (back and soups > 0)


@inner
def offer_supply(kit: Kit, scene: Scene, chores: Chores, i: int, best: Array) -> None:
    """Tasks for a chef that reaches no pot but a counter on the way.

    One counter stays free for the dishes still to come, and for soups if they come back that way. An ingredient that a
    pot takes now and gets from nowhere else may use it if there is no other; or, where dishes for all pots may lie on
    the others, if no ingredient does and neither a dish nor a soup is to be expected.
    """
    over, ticks_on, free = hand_over(kit, scene, chores, i, TO_POT)
    if over < 0:
        return
    back = is_way_back(chores, i)
    ways = count_ways(kit, scene, chores, i, TO_POT)
    usable = ways == 1 or (ways <= len(kit.pots) and not is_kept_free(kit, scene, chores, i, back))
    for item in (ONION, TOMATO, DISH):
        x = item - ONION
        ahead = lying_ahead(kit, scene, chores, i, item, TO_POT)
        now, soon, alone = -ahead, -ahead, False
        for k in range(len(kit.pots)):
            now += wants(chores, k, x, True)
            soon += wants(chores, k, x, False)
            alone = alone or chores.starved[k, x]
        open_ = free > 1 or (usable and alone and now > 0) or (item == DISH and not back)
        if soon > 0 and open_:
            cell, ticks = find_item(kit, scene, chores, i, item, over)
            offer(best, rank_of(item, now > 0) * TIER + ticks + ticks_on, rank_of(item, now > 0), -1, x, cell)


@inner
def offer_imports(kit: Kit, scene: Scene, chores: Chores, i: int, best: Array) -> None:
    """Tasks for a chef that reaches pots, for another pot that gets an item from nowhere else."""
    for k in range(len(kit.pots)):
        way = TO_POT_K + k
        for item in (ONION, TOMATO, DISH):
            x = item - ONION
            if not is_import(chores, i, k, x):
                continue
            over, ticks_on, free = hand_over(kit, scene, chores, i, way)
            missing_ = wants(chores, k, x, False) - lying_ahead(kit, scene, chores, i, item, way)
            if over < 0 or missing_ <= 0 or (free == 1 and item != DISH):
                continue
            task = rank_of(item, wants(chores, k, x, True) > 0)
            cell, ticks = find_item(kit, scene, chores, i, item, over)
            offer(best, task * TIER + ticks + ticks_on, task, k, x, cell)


@inner
def rank_of(item: int, now: bool) -> int:
    """The task of bringing an item, now or for later."""
    if item == DISH:
        return PLATE if now else PLATE_LATER
    return FILL if now else FILL_LATER


@inner
def offer_soups(kit: Kit, scene: Scene, chores: Chores, i: int, best: Array) -> None:
    """Soups lying on counters, for a chef that reaches the serving hatch."""
    if chores.hop[TO_SERVING, i] > 0:
        return
    cell = lying_soup(kit, scene, chores, i)
    if cell >= 0:
        offer(best, SERVE * TIER + scene.dist[i, cell], SERVE, -1, 0, cell)


@inner
def offer_tasks(kit: Kit, scene: Scene, chores: Chores, i: int, best: Array) -> None:
    """All open tasks that chef `i` could do with free hands."""
    offer_soups(kit, scene, chores, i, best)
    if chores.hop[TO_POT, i] == 0:
        offer_pot_work(kit, scene, chores, i, best)
        offer_imports(kit, scene, chores, i, best)
    elif chores.hop[TO_POT, i] < FAR:
        offer_supply(kit, scene, chores, i, best)


@inner
def take_task(kit: Kit, chores: Chores, i: int, best: Array) -> None:
    """Chef `i` takes the task in best; what it covers is no longer open."""
    task, k, x, cell = int(best[1]), int(best[2]), int(best[3]), int(best[4])
    chores.goal[i] = cell
    chores.taken[cell] = kit.terrain[cell] == COUNTER
    if task == START:
        chores.start[k] = False
    elif task == PLATE or task == PLATE_LATER:
        take_one(chores.plate, k, True)
    elif task == FILL:
        take_one(chores.lack[:, x], k, False)
    elif task == FILL_LATER:
        take_one(chores.later[:, x], k, False)


@inner
def take_one(open_: Array, k: int, whole: int) -> None:
    """Takes one unit (with `whole` all) off pot `k`, or with k -1 off the first pot that wants any."""
    for pot in range(len(open_)):
        if (k < 0 and open_[pot] > 0) or pot == k:
            open_[pot] = 0 if whole else open_[pot] - 1
            return


@inner_alloc
def assign_free_hands(kit: Kit, scene: Scene, chores: Chores) -> None:
    """Gives tasks to chefs with free hands, the most urgent and then the cheapest first."""
    best, mine = np.empty(5), np.empty(5)
    while True:
        chef, best[0] = -1, float(FAR)
        for i in range(len(scene.held)):
            if scene.held[i] != NOTHING or not scene.helps[i] or chores.goal[i] >= 0:
                continue
            mine[0] = best[0]
            offer_tasks(kit, scene, chores, i, mine)
            if mine[0] < best[0]:
                chef = i
                best[:] = mine
        if chef < 0:
            return
        take_task(kit, chores, chef, best)


# --------------------------------------------------------------------------- hands full of the wrong thing


@inner_alloc
def is_needed_elsewhere(kit: Kit, scene: Scene, chores: Chores, i: int) -> bool:
    """Whether work is open that chef `i` could do if its hands were free."""
    best = np.empty(5)
    best[0] = float(FAR)
    offer_tasks(kit, scene, chores, i, best)
    return best[0] < FAR and best[1] < FILL_LATER and not (best[1] == PLATE_LATER and scene.held[i] == DISH)


@inner
def find_rest(kit: Kit, scene: Scene, chores: Chores, i: int) -> int:
    """Free counter to put something aside: near, near the pots, and rather not one that hand-overs need."""
    best, cost = -1, float(FAR)
    for cell in kit.stations:
        usable = kit.terrain[cell] == COUNTER and content(scene, cell) == NOTHING and not chores.taken[cell]
        if not usable or scene.dist[i, cell] >= FAR:
            continue
        room = kit.plan.room[scene.cell[i]]
        steps = float(scene.dist[i, cell])
        for pot in kit.pots:
            if kit.plan.leg[room, cell, pot] < FAR:
                steps += 0.5 * kit.plan.leg[room, cell, pot]
        for j in range(len(scene.held)):
            if j != i and scene.dist[j, cell] < FAR and kit.plan.room[scene.cell[j]] != room:
                steps += 6.0
        if steps < cost:
            best, cost = cell, steps
    return best


@inner_alloc
def put_aside(kit: Kit, scene: Scene, chores: Chores) -> None:
    """Chefs that only wait with an item, or have no use for it, put it down if there is other work for them."""
    for i in range(len(scene.held)):
        if not scene.helps[i] or scene.held[i] == NOTHING:
            continue
        waits = chores.goal[i] >= 0 and chores.wait[i] == SOON
        if waits and is_needed_elsewhere(kit, scene, chores, i):
            chores.goal[i] = -1
        if chores.goal[i] < 0:
            chores.goal[i], chores.wait[i] = find_rest(kit, scene, chores, i), 0
            if chores.goal[i] >= 0:
                chores.taken[chores.goal[i]] = True
            elif scene.held[i] < DISH:
                chores.goal[i] = find_any_pot(kit, scene, chores, i)


@inner
def find_any_pot(kit: Kit, scene: Scene, chores: Chores, i: int) -> int:
    """For an ingredient that can be put down nowhere: a pot from which something paid can still come, -1 if none."""
    for k in range(len(kit.pots)):
        seq = max(content(scene, kit.pots[k]) & SEQ_MASK, 1)
        onions, tomatoes = kit.mix[seq, 0] + (scene.held[i] == ONION), kit.mix[seq, 1] + (scene.held[i] == TOMATO)
        room = chores.left[k] < 0 and onions + tomatoes <= 3 and scene.dist[i, kit.pots[k]] < FAR
        if room and kit.worth[chores.supply[0], onions, tomatoes] > 0:
            return kit.pots[k]
    return -1


@inner
def clear_counters(kit: Kit, scene: Scene, chores: Chores) -> None:
    """When no counter is left to hand things over, an idle chef on the far side takes something away."""
    for way in (TO_POT, TO_SERVING):
        hop = chores.hop[way]
        for i in range(len(scene.held)):
            if not 0 < hop[i] < FAR or hand_over(kit, scene, chores, i, way)[0] >= 0:
                continue
            waits = scene.held[i] >= SOUP or lying_soup(kit, scene, chores, i) >= 0
            if way == TO_SERVING and (chores.goal[i] >= 0 or not waits):
                continue
            for j in range(len(scene.held)):
                if hop[j] < hop[i] and chores.goal[j] < 0 and scene.held[j] == NOTHING and scene.helps[j]:
                    take_away(kit, scene, chores, i, j)


@inner
def take_away(kit: Kit, scene: Scene, chores: Chores, i: int, j: int) -> None:
    """Chef `j` goes for the nearest thing on a counter it shares with `i`, a dish only if there is nothing else."""
    cost = 2 * FAR
    for cell in kit.stations:
        if kit.terrain[cell] != COUNTER or max(scene.dist[i, cell], scene.dist[j, cell]) >= FAR or chores.taken[cell]:
            continue
        if content(scene, cell) >= SOUP and leads_on(scene, chores.hop[TO_SERVING], j, cell):
            continue
        steps = scene.dist[j, cell] + FAR * (content(scene, cell) == DISH)
        if steps < cost:
            chores.goal[j], cost = cell, steps


@inner_alloc
def divide_work(kit: Kit, scene: Scene) -> Chores:
    """Goals of all chefs in the present state."""
    seats, pots = len(scene.held), len(kit.pots)
    chores = Chores(
        goal=np.full(seats, -1, np.int64),
        wait=np.zeros(seats, np.int64),
        lack=np.zeros((pots, 2), np.int64),
        later=np.zeros((pots, 2), np.int64),
        left=np.zeros(pots, np.int64),
        plate=np.zeros(pots, np.int64),
        start=np.zeros(pots, np.bool_),
        taken=np.zeros(len(kit.terrain), np.bool_),
        hop=np.zeros((TO_POT_K + pots, seats), np.int64),
        starved=np.zeros((pots, 3), np.bool_),
        supply=np.zeros(1, np.int64),
    )
    count_hops(kit, scene, POT, -1, chores.hop[TO_POT])
    count_hops(kit, scene, SERVING, -1, chores.hop[TO_SERVING])
    for k in range(pots):
        count_hops(kit, scene, POT, kit.pots[k], chores.hop[TO_POT_K + k])
    find_starved(kit, scene, chores)
    chores.supply[0] = find_supply(kit, scene, chores.hop[TO_POT])
    list_work(kit, scene, chores)
    carry_soups(kit, scene, chores)
    lift_soups(kit, scene, chores)
    carry_to_pots(kit, scene, chores, False)
    send_to_pots(kit, scene, chores)
    pass_to_pots(kit, scene, chores)
    carry_to_pots(kit, scene, chores, True)
    assign_free_hands(kit, scene, chores)
    put_aside(kit, scene, chores)
    clear_counters(kit, scene, chores)
    return chores
