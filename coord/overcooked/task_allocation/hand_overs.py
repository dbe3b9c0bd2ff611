"""Items that hop over counters which two chefs share, towards the pots and the serving hatch."""

from __future__ import annotations

from coord.overcooked.packed_row import COUNTER, NOTHING, ONION, ONION_DISPENSER, POT, SERVING, SOUP, Array
from coord.overcooked.planner import FAR, inner
from coord.overcooked.task_allocation.kitchen import TO_POT, TO_POT_K, TO_SERVING, Allocation, Kit, Scene
from coord.overcooked.task_allocation.open_work import content, nearest, wants


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
def find_starved(kit: Kit, scene: Scene, tasks: Allocation) -> None:
    """Fills in which items must come to a pot from chefs that reach another pot but not this one."""
    for k in range(len(kit.pots)):
        hop = tasks.hop[TO_POT_K + k]
        for x in range(3):
            tasks.starved[k, x] = True
            for i in range(len(hop)):
                if hop[i] == 0 and scene.helps[i] and nearest(kit, scene, i, ONION_DISPENSER + x) >= 0:
                    tasks.starved[k, x] = False


@inner
def is_import(tasks: Allocation, i: int, k: int, x: int) -> bool:
    """Whether chef `i`, who works at another pot, can send items of this kind on to pot `k`, which needs that."""
    return tasks.starved[k, x] and tasks.hop[TO_POT, i] == 0 and 0 < tasks.hop[TO_POT_K + k, i] < FAR


@inner
def is_awaited(scene: Scene, tasks: Allocation, i: int, cell: int, item: int) -> bool:
    """Whether an item on a counter is meant for a pot that chef `i` does not reach."""
    x = item - ONION
    for k in range(len(tasks.left)):
        wanted = is_import(tasks, i, k, x) and wants(tasks, k, x, False) > 0
        if wanted and leads_on(scene, tasks.hop[TO_POT_K + k], i, cell):
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
def hand_over(kit: Kit, scene: Scene, tasks: Allocation, i: int, way: int) -> tuple[int, int, int]:
    """(cell, steps there and beyond, how many) of free counters that take an item of `i` nearer; cell -1 if none."""
    kind = SERVING if way == TO_SERVING else POT
    best, cost, free = -1, FAR, 0
    for cell in kit.stations:
        usable = kit.terrain[cell] == COUNTER and content(scene, cell) == NOTHING and not tasks.taken[cell]
        if not usable or scene.dist[i, cell] >= FAR or not leads_on(scene, tasks.hop[way], i, cell):
            continue
        free += 1
        steps = scene.dist[i, cell] + onward(kit, scene, tasks.hop[way], i, cell, kind)
        if steps < cost:
            best, cost = cell, steps
    return best, cost, free


@inner
def lying_soup(kit: Kit, scene: Scene, tasks: Allocation, i: int) -> int:
    """The nearest soup on a counter that chef `i` must take on towards the hatch, -1 if none."""
    best, cost = -1, FAR
    for cell in kit.stations:
        if kit.terrain[cell] != COUNTER or content(scene, cell) < SOUP or tasks.taken[cell]:
            continue
        if scene.dist[i, cell] < cost and not leads_on(scene, tasks.hop[TO_SERVING], i, cell):
            best, cost = cell, scene.dist[i, cell]
    return best


@inner
def pass_on(kit: Kit, scene: Scene, tasks: Allocation, i: int, way: int) -> None:
    """Sends chef `i` to a shared counter with what it holds."""
    cell, _, _ = hand_over(kit, scene, tasks, i, way)
    tasks.goal[i] = cell
    if cell >= 0:
        tasks.taken[cell] = True


@inner
def lying_ahead(kit: Kit, scene: Scene, tasks: Allocation, i: int, item: int, way: int) -> int:
    """How many of an item lie where a chef nearer to the goal will find them."""
    count = 0
    for cell in kit.stations:
        if kit.terrain[cell] == COUNTER and content(scene, cell) == item and not tasks.taken[cell]:
            count += leads_on(scene, tasks.hop[way], i, cell)
    return count


@inner
def count_ways(kit: Kit, scene: Scene, tasks: Allocation, i: int, way: int) -> int:
    """How many counters, free or not, lead from chef `i` towards the goal."""
    count = 0
    for cell in kit.stations:
        if kit.terrain[cell] == COUNTER and scene.dist[i, cell] < FAR:
            count += leads_on(scene, tasks.hop[way], i, cell)
    return count


@inner
def is_way_back(tasks: Allocation, i: int) -> bool:
    """Whether soups come back over the counters on which chef `i` sends things to the pots."""
    to_pot, to_serving = tasks.hop[TO_POT], tasks.hop[TO_SERVING]
    for j in range(len(to_pot)):
        if to_pot[j] < to_pot[i] and to_serving[i] < to_serving[j] < FAR:
            return True
    return False
