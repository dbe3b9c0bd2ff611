"""Tasks for free hands, given out in order of urgency, then of steps."""

from __future__ import annotations

import numpy as np

from coord.overcooked.packed_row import COUNTER, DISH, NOTHING, ONION, ONION_DISPENSER, SERVING, SOUP, TOMATO, Array
from coord.overcooked.planner import FAR, inner, inner_alloc
from coord.overcooked.task_allocation.hand_overs import (
    count_ways,
    hand_over,
    is_awaited,
    is_import,
    is_way_back,
    leads_on,
    lying_ahead,
    lying_soup,
)
from coord.overcooked.task_allocation.kitchen import TO_POT, TO_POT_K, TO_SERVING, Allocation, Kit, Scene
from coord.overcooked.task_allocation.open_work import content, missing, wants

START, SERVE, PLATE, FILL, PLATE_LATER, FILL_LATER = range(6)  # tasks for free hands, most urgent first
TIER = 1000.0  # score between two ranks of urgency, more than any walk
SLACK = 8  # a dish is urgent from this many ticks before it must be fetched: about one trip with an ingredient


@inner
def find_item(kit: Kit, scene: Scene, tasks: Allocation, i: int, item: int, goal: int) -> tuple[int, float]:
    """(cell, ticks) of the place where chef `i` gets an item soonest, the way on to `goal` (-1: none) included.

    Items on counters are left alone if they lead on to a chef nearer to the pots, or somebody is on the way to them.
    """
    best, cost = -1, float(FAR)
    room = kit.plan.room[scene.cell[i]]
    for cell in kit.stations:
        if scene.dist[i, cell] >= FAR or tasks.taken[cell]:
            continue
        if kit.terrain[cell] == COUNTER:
            if content(scene, cell) != item or leads_on(scene, tasks.hop[TO_POT], i, cell):
                continue
            if is_awaited(scene, tasks, i, cell, item):
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


@inner
def offer(best: Array, score: float, task: int, k: int, x: int, cell: int) -> None:
    """Keeps the task with the lowest score in best float64 [5]."""
    if cell >= 0 and score < best[0]:
        best[0], best[1], best[2], best[3], best[4] = score, task, k, x, cell


@inner
def offer_pot_work(kit: Kit, scene: Scene, tasks: Allocation, i: int, best: Array) -> None:
    """Tasks for a chef that reaches pots: start them, bring dishes and ingredients."""
    for k in range(len(kit.pots)):
        pot = kit.pots[k]
        if scene.dist[i, pot] >= FAR:
            continue
        if tasks.start[k]:
            offer(best, START * TIER + scene.dist[i, pot], START, k, 0, pot)
        for x in range(2):
            if tasks.lack[k, x] > 0 or tasks.later[k, x] > 0:
                cell, ticks = find_item(kit, scene, tasks, i, ONION + x, pot)
                task = FILL if tasks.lack[k, x] > 0 else FILL_LATER
                offer(best, task * TIER + ticks + 3 * missing(tasks, k) + max(0, tasks.left[k]), task, k, x, cell)
        if tasks.plate[k] > 0:
            offer_plate(kit, scene, tasks, i, k, best)


@inner
def offer_plate(kit: Kit, scene: Scene, tasks: Allocation, i: int, k: int, best: Array) -> None:
    """A dish for pot `k`: urgent if an ingredient brought first would make the soup wait."""
    pot, room = kit.pots[k], kit.plan.room[scene.cell[i]]
    cell, ticks = find_item(kit, scene, tasks, i, DISH, pot)
    if cell < 0:
        return
    serve = 20.0
    for goal in kit.stations:
        if kit.terrain[goal] == SERVING:
            serve = min(serve, kit.plan.leg[room, pot, goal])
    urgent = tasks.plate[k] == 1 and tasks.left[k] - ticks < SLACK
    task = PLATE if urgent else PLATE_LATER
    offer(best, task * TIER + max(ticks, tasks.left[k]) + serve, task, k, 0, cell)


@inner
def is_kept_free(kit: Kit, scene: Scene, tasks: Allocation, i: int, back: bool) -> bool:
    """Whether the last free counter from chef `i` to the pots is for a dish to come, or (`back`) a soup to return.

    It is as well while ingredients lie on the others.
    """
    if lying_ahead(kit, scene, tasks, i, ONION, TO_POT) + lying_ahead(kit, scene, tasks, i, TOMATO, TO_POT) > 0:
        return True
    dishes, soups = -lying_ahead(kit, scene, tasks, i, DISH, TO_POT), 0
    for k in range(len(kit.pots)):
        dishes += wants(tasks, k, 2, False)
        soups += tasks.left[k] >= 0
    for j in range(len(scene.held)):
        soups += scene.held[j] >= SOUP or lying_soup(kit, scene, tasks, j) >= 0
    return dishes > 0 or (back and soups > 0)


@inner
def offer_supply(kit: Kit, scene: Scene, tasks: Allocation, i: int, best: Array) -> None:
    """Tasks for a chef that reaches no pot but a counter on the way.

    One counter stays free for the dishes still to come, and for soups if they come back that way. An ingredient that a
    pot takes now and gets from nowhere else may use it if there is no other; or, where dishes for all pots may lie on
    the others, if no ingredient does and neither a dish nor a soup is to be expected.
    """
    over, ticks_on, free = hand_over(kit, scene, tasks, i, TO_POT)
    if over < 0:
        return
    back = is_way_back(tasks, i)
    ways = count_ways(kit, scene, tasks, i, TO_POT)
    usable = ways == 1 or (ways <= len(kit.pots) and not is_kept_free(kit, scene, tasks, i, back))
    for item in (ONION, TOMATO, DISH):
        x = item - ONION
        ahead = lying_ahead(kit, scene, tasks, i, item, TO_POT)
        now, soon, alone = -ahead, -ahead, False
        for k in range(len(kit.pots)):
            now += wants(tasks, k, x, True)
            soon += wants(tasks, k, x, False)
            alone = alone or tasks.starved[k, x]
        open_ = free > 1 or (usable and alone and now > 0) or (item == DISH and not back)
        if soon > 0 and open_:
            cell, ticks = find_item(kit, scene, tasks, i, item, over)
            offer(best, rank_of(item, now > 0) * TIER + ticks + ticks_on, rank_of(item, now > 0), -1, x, cell)


@inner
def offer_imports(kit: Kit, scene: Scene, tasks: Allocation, i: int, best: Array) -> None:
    """Tasks for a chef that reaches pots, for another pot that gets an item from nowhere else."""
    for k in range(len(kit.pots)):
        way = TO_POT_K + k
        for item in (ONION, TOMATO, DISH):
            x = item - ONION
            if not is_import(tasks, i, k, x):
                continue
            over, ticks_on, free = hand_over(kit, scene, tasks, i, way)
            missing_ = wants(tasks, k, x, False) - lying_ahead(kit, scene, tasks, i, item, way)
            if over < 0 or missing_ <= 0 or (free == 1 and item != DISH):
                continue
            task = rank_of(item, wants(tasks, k, x, True) > 0)
            cell, ticks = find_item(kit, scene, tasks, i, item, over)
            offer(best, task * TIER + ticks + ticks_on, task, k, x, cell)


@inner
def rank_of(item: int, now: bool) -> int:
    """The task of bringing an item, now or for later."""
    if item == DISH:
        return PLATE if now else PLATE_LATER
    return FILL if now else FILL_LATER


@inner
def offer_soups(kit: Kit, scene: Scene, tasks: Allocation, i: int, best: Array) -> None:
    """Soups lying on counters, for a chef that reaches the serving hatch."""
    if tasks.hop[TO_SERVING, i] > 0:
        return
    cell = lying_soup(kit, scene, tasks, i)
    if cell >= 0:
        offer(best, SERVE * TIER + scene.dist[i, cell], SERVE, -1, 0, cell)


@inner
def offer_tasks(kit: Kit, scene: Scene, tasks: Allocation, i: int, best: Array) -> None:
    """All open tasks that chef `i` could do with free hands."""
    offer_soups(kit, scene, tasks, i, best)
    if tasks.hop[TO_POT, i] == 0:
        offer_pot_work(kit, scene, tasks, i, best)
        offer_imports(kit, scene, tasks, i, best)
    elif tasks.hop[TO_POT, i] < FAR:
        offer_supply(kit, scene, tasks, i, best)


@inner
def take_task(kit: Kit, tasks: Allocation, i: int, best: Array) -> None:
    """Chef `i` takes the task in best; what it covers is no longer open."""
    task, k, x, cell = int(best[1]), int(best[2]), int(best[3]), int(best[4])
    tasks.goal[i] = cell
    tasks.taken[cell] = kit.terrain[cell] == COUNTER
    if task == START:
        tasks.start[k] = False
    elif task == PLATE or task == PLATE_LATER:
        take_one(tasks.plate, k, True)
    elif task == FILL:
        take_one(tasks.lack[:, x], k, False)
    elif task == FILL_LATER:
        take_one(tasks.later[:, x], k, False)


@inner
def take_one(open_: Array, k: int, whole: int) -> None:
    """Takes one unit (with `whole` all) off pot `k`, or with k -1 off the first pot that wants any."""
    for pot in range(len(open_)):
        if (k < 0 and open_[pot] > 0) or pot == k:
            open_[pot] = 0 if whole else open_[pot] - 1
            return


@inner_alloc
def assign_free_hands(kit: Kit, scene: Scene, tasks: Allocation) -> None:
    """Gives tasks to chefs with free hands, the most urgent and then the cheapest first."""
    best, mine = np.empty(5), np.empty(5)
    while True:
        chef, best[0] = -1, float(FAR)
        for i in range(len(scene.held)):
            if scene.held[i] != NOTHING or not scene.helps[i] or tasks.goal[i] >= 0:
                continue
            mine[0] = best[0]
            offer_tasks(kit, scene, tasks, i, mine)
            if mine[0] < best[0]:
                chef = i
                best[:] = mine
        if chef < 0:
            return
        take_task(kit, tasks, chef, best)
