"""The goals of all chefs in the present state."""

from __future__ import annotations

import numpy as np

from coord.overcooked.packed_row import POT, SERVING
from coord.overcooked.planner import inner_alloc
from coord.overcooked.task_allocation.free_hands import assign_free_hands
from coord.overcooked.task_allocation.full_hands import (
    carry_soups,
    carry_to_pots,
    lift_soups,
    pass_to_pots,
    send_to_pots,
)
from coord.overcooked.task_allocation.hand_overs import count_hops, find_starved
from coord.overcooked.task_allocation.kitchen import TO_POT, TO_POT_K, TO_SERVING, Allocation, Kit, Scene
from coord.overcooked.task_allocation.open_work import find_supply, list_work
from coord.overcooked.task_allocation.wrong_hands import clear_counters, put_aside


@inner_alloc
def allocate_tasks(kit: Kit, scene: Scene) -> Allocation:
    """Goals of all chefs in the present state."""
    seats, pots = len(scene.held), len(kit.pots)
    tasks = Allocation(
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
    count_hops(kit, scene, POT, -1, tasks.hop[TO_POT])
    count_hops(kit, scene, SERVING, -1, tasks.hop[TO_SERVING])
    for k in range(pots):
        count_hops(kit, scene, POT, kit.pots[k], tasks.hop[TO_POT_K + k])
    find_starved(kit, scene, tasks)
    tasks.supply[0] = find_supply(kit, scene, tasks.hop[TO_POT])
    list_work(kit, scene, tasks)
    carry_soups(kit, scene, tasks)
    lift_soups(kit, scene, tasks)
    carry_to_pots(kit, scene, tasks, False)
    send_to_pots(kit, scene, tasks)
    pass_to_pots(kit, scene, tasks)
    carry_to_pots(kit, scene, tasks, True)
    assign_free_hands(kit, scene, tasks)
    put_aside(kit, scene, tasks)
    clear_counters(kit, scene, tasks)
    return tasks
