"""What pots lack, whether they are to be started or plated, and which ingredients can be had at all."""

from __future__ import annotations

from coord.overcooked.packed_row import CONTENT, COUNTER, ONION, ONION_DISPENSER, SEQ_MASK, TOMATO, Array, cooking_tick
from coord.overcooked.planner import FAR, inner
from coord.overcooked.task_allocation.kitchen import Allocation, Kit, Scene


@inner
def content(scene: Scene, cell: int) -> int:
    """What lies on a counter or stands in a pot."""
    return scene.row[CONTENT + cell]


@inner
def missing(tasks: Allocation, k: int) -> int:
    """Ingredients that pot `k` lacks."""
    return tasks.lack[k, 0] + tasks.lack[k, 1]


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
def list_work(kit: Kit, scene: Scene, tasks: Allocation) -> None:
    """Fills in what each pot lacks, and whether it is to be started or plated."""
    aim = kit.aim[tasks.supply[0]]
    for k in range(len(kit.pots)):
        inside = content(scene, kit.pots[k])
        seq = inside & SEQ_MASK if inside else 1
        tick = cooking_tick(inside) if inside else -1
        if tick >= 0:
            tasks.left[k], tasks.plate[k] = max(0, kit.cook_time[seq] - tick), 1
            for x in range(2):
                tasks.later[k, x] = aim[0, 0, x]
            continue
        onions, tomatoes = kit.mix[seq, 0], kit.mix[seq, 1]
        tasks.left[k], tasks.plate[k] = -1, 2
        tasks.lack[k, 0] = aim[onions, tomatoes, 0] - onions
        tasks.lack[k, 1] = aim[onions, tomatoes, 1] - tomatoes
        done = onions + tomatoes > 0 and missing(tasks, k) == 0
        if done and kit.classic:  # part of a soup whose rest cannot be had: nobody need wait for it
            tasks.plate[k] = 0
        tasks.start[k] = done and not kit.classic


@inner
def wants(tasks: Allocation, k: int, x: int, now: bool) -> int:
    """How many more of an item (0 onion, 1 tomato, 2 dish) pot `k` takes, now or at all."""
    if x == 2:
        return tasks.plate[k] == 1 if now else tasks.plate[k] > 0
    return tasks.lack[k, x] + (0 if now else tasks.later[k, x])


@inner
def take_wanted(tasks: Allocation, k: int, x: int) -> None:
    """One item less (0 onion, 1 tomato, 2 dish) that pot `k` needs now."""
    if x == 2:
        tasks.plate[k] = 0
    else:
        tasks.lack[k, x] -= 1


@inner
def nearest(kit: Kit, scene: Scene, i: int, kind: int) -> int:
    """Station of a kind that chef `i` faces soonest, -1 if none."""
    best, cost = -1, FAR
    for cell in kit.stations:
        if kit.terrain[cell] == kind and scene.dist[i, cell] < cost:
            best, cost = cell, scene.dist[i, cell]
    return best
