"""Hands full of what nobody needs, and counters so full that nothing can be handed over."""

from __future__ import annotations

import numpy as np

from coord.overcooked.packed_row import COUNTER, DISH, NOTHING, ONION, SEQ_MASK, SOUP, TOMATO
from coord.overcooked.planner import FAR, inner, inner_alloc
from coord.overcooked.task_allocation.free_hands import FILL_LATER, PLATE_LATER, offer_tasks
from coord.overcooked.task_allocation.hand_overs import hand_over, leads_on, lying_soup
from coord.overcooked.task_allocation.kitchen import SOON, TO_POT, TO_SERVING, Allocation, Kit, Scene
from coord.overcooked.task_allocation.open_work import content


@inner_alloc
def is_needed_elsewhere(kit: Kit, scene: Scene, tasks: Allocation, i: int) -> bool:
    """Whether work is open that chef `i` could do if its hands were free."""
    best = np.empty(5)
    best[0] = float(FAR)
    offer_tasks(kit, scene, tasks, i, best)
    return best[0] < FAR and best[1] < FILL_LATER and not (best[1] == PLATE_LATER and scene.held[i] == DISH)


@inner
def find_rest(kit: Kit, scene: Scene, tasks: Allocation, i: int) -> int:
    """Free counter to put something aside: near, near the pots, and rather not one that hand-overs need."""
    best, cost = -1, float(FAR)
    for cell in kit.stations:
        usable = kit.terrain[cell] == COUNTER and content(scene, cell) == NOTHING and not tasks.taken[cell]
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
def put_aside(kit: Kit, scene: Scene, tasks: Allocation) -> None:
    """Chefs that only wait with an item, or have no use for it, put it down if there is other work for them."""
    for i in range(len(scene.held)):
        if not scene.helps[i] or scene.held[i] == NOTHING:
            continue
        waits = tasks.goal[i] >= 0 and tasks.wait[i] == SOON
        if waits and is_needed_elsewhere(kit, scene, tasks, i):
            tasks.goal[i] = -1
        if tasks.goal[i] < 0:
            tasks.goal[i], tasks.wait[i] = find_rest(kit, scene, tasks, i), 0
            if tasks.goal[i] >= 0:
                tasks.taken[tasks.goal[i]] = True
            elif scene.held[i] < DISH:
                tasks.goal[i] = find_any_pot(kit, scene, tasks, i)


@inner
def find_any_pot(kit: Kit, scene: Scene, tasks: Allocation, i: int) -> int:
    """For an ingredient that can be put down nowhere: a pot from which something paid can still come, -1 if none."""
    for k in range(len(kit.pots)):
        seq = max(content(scene, kit.pots[k]) & SEQ_MASK, 1)
        onions, tomatoes = kit.mix[seq, 0] + (scene.held[i] == ONION), kit.mix[seq, 1] + (scene.held[i] == TOMATO)
        room = tasks.left[k] < 0 and onions + tomatoes <= 3 and scene.dist[i, kit.pots[k]] < FAR
        if room and kit.worth[tasks.supply[0], onions, tomatoes] > 0:
            return kit.pots[k]
    return -1


@inner
def clear_counters(kit: Kit, scene: Scene, tasks: Allocation) -> None:
    """When no counter is left to hand things over, an idle chef on the far side takes something away."""
    for way in (TO_POT, TO_SERVING):
        hop = tasks.hop[way]
        for i in range(len(scene.held)):
            if not 0 < hop[i] < FAR or hand_over(kit, scene, tasks, i, way)[0] >= 0:
                continue
            waits = scene.held[i] >= SOUP or lying_soup(kit, scene, tasks, i) >= 0
            if way == TO_SERVING and (tasks.goal[i] >= 0 or not waits):
                continue
            for j in range(len(scene.held)):
                if hop[j] < hop[i] and tasks.goal[j] < 0 and scene.held[j] == NOTHING and scene.helps[j]:
                    take_away(kit, scene, tasks, i, j)


@inner
def take_away(kit: Kit, scene: Scene, tasks: Allocation, i: int, j: int) -> None:
    """Chef `j` goes for the nearest thing on a counter it shares with `i`, a dish only if there is nothing else."""
    cost = 2 * FAR
    for cell in kit.stations:
        if kit.terrain[cell] != COUNTER or max(scene.dist[i, cell], scene.dist[j, cell]) >= FAR or tasks.taken[cell]:
            continue
        if content(scene, cell) >= SOUP and leads_on(scene, tasks.hop[TO_SERVING], j, cell):
            continue
        steps = scene.dist[j, cell] + FAR * (content(scene, cell) == DISH)
        if steps < cost:
            tasks.goal[j], cost = cell, steps
