"""Tasks for chefs whose hands already hold something: where it goes."""

from __future__ import annotations

from coord.overcooked.packed_row import DISH, NOTHING, ONION, SEQ_MASK, SERVING, SOUP
from coord.overcooked.planner import FAR, inner
from coord.overcooked.task_allocation.hand_overs import hand_over, is_import, lying_ahead, lying_soup, pass_on
from coord.overcooked.task_allocation.kitchen import SOON, TO_POT, TO_POT_K, TO_SERVING, Allocation, Kit, Scene
from coord.overcooked.task_allocation.open_work import content, missing, nearest, take_wanted, wants

GOOD_ENOUGH = 0.75  # share of the best worth that a pot may lose by taking what is already in hand


@inner
def carry_soups(kit: Kit, scene: Scene, tasks: Allocation) -> None:
    """Soups in hands go to the serving hatch, or towards it."""
    for i in range(len(scene.held)):
        if not scene.helps[i] or scene.held[i] < SOUP:
            continue
        if tasks.hop[TO_SERVING, i] == 0:
            tasks.goal[i] = nearest(kit, scene, i, SERVING)
        elif tasks.hop[TO_SERVING, i] < FAR:
            pass_on(kit, scene, tasks, i, TO_SERVING)


@inner
def lift_soups(kit: Kit, scene: Scene, tasks: Allocation) -> None:
    """Soups that lie where nobody nearer to the hatch reaches them: free hands fetch them while there is a way on."""
    hop = tasks.hop[TO_SERVING]
    for i in range(len(scene.held)):
        if not scene.helps[i] or scene.held[i] != NOTHING or tasks.goal[i] >= 0 or not 0 < hop[i] < FAR:
            continue
        soup = lying_soup(kit, scene, tasks, i)
        over = hand_over(kit, scene, tasks, i, TO_SERVING)[0] if soup >= 0 else -1
        if over >= 0:
            tasks.goal[i] = soup
            tasks.taken[soup] = True
            tasks.taken[over] = True


@inner
def fits(kit: Kit, scene: Scene, tasks: Allocation, k: int, x: int) -> bool:
    """Whether pot `k` takes one more of ingredient `x` (0 onion, 1 tomato) now, at little loss of worth."""
    if tasks.lack[k, x] > 0:
        return True
    if missing(tasks, k) == 0:
        return False
    seq = max(content(scene, kit.pots[k]) & SEQ_MASK, 1)
    onions, tomatoes = kit.mix[seq, 0], kit.mix[seq, 1]
    if onions + tomatoes >= 3:
        return False
    worth = kit.worth[tasks.supply[0]]
    return worth[onions + (x == 0), tomatoes + (x == 1)] > GOOD_ENOUGH * worth[onions, tomatoes]


@inner
def carry_cost(kit: Kit, scene: Scene, tasks: Allocation, i: int, k: int, soon: bool) -> int:
    """Ticks until what `i` holds can go to pot `k`; FAR if it does not belong there (now, or with `soon` later)."""
    held, steps = scene.held[i], scene.dist[i, kit.pots[k]]
    if steps >= FAR:
        return FAR
    if held == DISH:
        if tasks.plate[k] == (2 if soon else 1):
            return max(steps, tasks.left[k]) + (10 * missing(tasks, k) if soon else 0)
        return FAR
    x = held - ONION
    if soon:
        return max(steps, tasks.left[k]) if tasks.later[k, x] > 0 else FAR
    return steps - 2 * (3 - missing(tasks, k)) if fits(kit, scene, tasks, k, x) else FAR


@inner
def carry_to_pots(kit: Kit, scene: Scene, tasks: Allocation, soon: bool) -> None:
    """Pairs dishes and ingredients in hands with pots, cheapest pair first."""
    while True:
        chef, pot, cost = -1, -1, FAR
        for i in range(len(scene.held)):
            if tasks.goal[i] >= 0 or not scene.helps[i] or not NOTHING < scene.held[i] <= DISH:
                continue
            for k in range(len(kit.pots)):
                ticks = carry_cost(kit, scene, tasks, i, k, soon)
                if ticks < cost:
                    chef, pot, cost = i, k, ticks
        if chef < 0:
            return
        take_carry(kit, scene, tasks, chef, pot, soon)


@inner
def take_carry(kit: Kit, scene: Scene, tasks: Allocation, i: int, k: int, soon: bool) -> None:
    """Chef `i` brings what it holds to pot `k`."""
    tasks.goal[i] = kit.pots[k]
    tasks.wait[i] = SOON if soon else max(0, tasks.left[k])
    if scene.held[i] == DISH:
        tasks.plate[k] = 0
        return
    x = scene.held[i] - ONION
    open_ = tasks.later if soon else tasks.lack
    if kit.classic and open_[k, x] == 0:  # the empty pot becomes one of the other kind
        open_[k, x], open_[k, 1 - x] = open_[k, 1 - x], 0
    open_[k, x if open_[k, x] > 0 else 1 - x] -= 1


@inner
def pass_to_pots(kit: Kit, scene: Scene, tasks: Allocation) -> None:
    """Dishes and ingredients in hands that reach no pot go over a shared counter."""
    for i in range(len(scene.held)):
        if scene.helps[i] and NOTHING < scene.held[i] <= DISH and 0 < tasks.hop[TO_POT, i] < FAR:
            pass_on(kit, scene, tasks, i, TO_POT)


@inner
def send_to_pots(kit: Kit, scene: Scene, tasks: Allocation) -> None:
    """Items in hands that a pot out of reach needs now, and gets from nowhere else, go towards it."""
    for i in range(len(scene.held)):
        if tasks.goal[i] >= 0 or not scene.helps[i] or not NOTHING < scene.held[i] <= DISH:
            continue
        x = scene.held[i] - ONION
        for k in range(len(kit.pots)):
            ahead = lying_ahead(kit, scene, tasks, i, scene.held[i], TO_POT_K + k)
            if tasks.goal[i] < 0 and is_import(tasks, i, k, x) and wants(tasks, k, x, True) > ahead:
                pass_on(kit, scene, tasks, i, TO_POT_K + k)
                take_wanted(tasks, k, x)
