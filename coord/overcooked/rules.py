"""The rule book: one tick of one kitchen, as scalar code on one packed row (`coord.overcooked.packed_row`).

Deviations from overcooked-ai 1.1.0 under rules="overcooked-ai": none in states it can reach. Under rules="classic"
(2019) a pot takes only the ingredient that is already in it and starts by itself when it is full (three, or the
layout's `num_items_for_soup`), an empty hand does nothing at a pot, every soup takes 20 ticks (or the layout's
`cook_time`) and pays 20 (or its `delivery_reward`), and orders are carried along but not looked at. Shaping rewards
are the same in both, but for the useful dish: overcooked-ai pays it with two seats only, 2019 with any number.
"""

from __future__ import annotations

from coord.overcooked import events as ev
from coord.overcooked.compiled import scalar
from coord.overcooked.packed_row import (
    ALL_ORDERS,
    BONUS_ORDERS,
    CONTENT,
    COUNTER,
    DISH,
    FACING,
    FLOOR,
    HELD,
    INTERACT,
    NOTHING,
    NUM_LOOSE,
    ONION,
    ONION_DISPENSER,
    PLAYER,
    POS,
    POT,
    SEQ_MASK,
    SERVING,
    SOUP,
    STAY,
    TICK_SHIFT,
    TIME,
    TOMATO,
    Array,
    Tables,
    cooking_tick,
    is_ready,
    num_ingredients,
    num_tomatoes,
    object_kind,
    put_down,
    take_up,
)


@scalar
def count_busy_pots(row: Array, tab: Tables, layout: int) -> int:
    """Pots that are partly filled, cooking or ready (full but idle ones do not count, as in overcooked-ai)."""
    busy = 0
    for k in range(tab.num_pots[layout]):
        content = row[CONTENT + tab.pots[layout, k]]
        amount = num_ingredients(content & SEQ_MASK)
        if cooking_tick(content) >= 0 or 0 < amount < tab.max_ingredients[layout]:
            busy += 1
    return busy


@scalar
def dish_pickup_useful(row: Array, cells: int, num_players: int, classic: bool, busy_pots: int) -> bool:
    """No dish on a counter, and fewer dishes in hands than busy pots; overcooked-ai asks with two seats only."""
    if num_players != 2 and not classic:
        return False
    for k in range(row[NUM_LOOSE]):
        if row[CONTENT + row[CONTENT + cells + k]] == DISH:
            return False
    held_dishes = 0
    for seat in range(num_players):
        held_dishes += row[PLAYER + 3 * seat + HELD] == DISH
    return held_dishes < busy_pots


@scalar
def use_counter(row: Array, seat: int, cell: int, cells: int, counts: Array) -> bool:
    """Puts the held object on an empty counter, or takes up what lies there; returns whether anything happened."""
    chef = PLAYER + 3 * seat
    held = row[chef + HELD]
    content = row[CONTENT + cell]
    if held != NOTHING and content == NOTHING:
        put_down(row, cells, cell, held)
        row[chef + HELD] = NOTHING
        counts[seat, ev.PUT + object_kind(held)] += 1
        return True
    if held == NOTHING and content != NOTHING:
        row[chef + HELD] = take_up(row, cells, cell)
        counts[seat, ev.PICK + object_kind(content)] += 1
        return True
    counts[seat, ev.IDLE_INTERACT_COUNTER] += 1
    return False


@scalar
def start_pot(row: Array, seat: int, cell: int, counts: Array) -> None:
    """Sets an idle soup cooking: tick -1 becomes 0."""
    row[CONTENT + cell] += 1 << TICK_SHIFT
    counts[seat, ev.POT_STARTED] += 1


@scalar
def pot_takes(content: int, held: int, limit: int, classic: bool) -> bool:
    """Whether a pot takes the held onion or tomato: it is idle and has room; in 2019 all in it must be of that kind."""
    seq = content & SEQ_MASK
    amount = num_ingredients(seq)
    if cooking_tick(content) >= 0 or amount >= limit:
        return False
    return not classic or num_tomatoes(seq) == amount * (held == TOMATO)


@scalar
def add_ingredient(row: Array, seat: int, cell: int, cells: int, limit: int, classic: bool, counts: Array) -> bool:
    """Puts the held ingredient into a pot that takes it; returns whether it went in."""
    chef = PLAYER + 3 * seat
    held = row[chef + HELD]
    content = row[CONTENT + cell]
    if not pot_takes(content, held, limit, classic):
        return False
    if content == NOTHING:
        content = SOUP + 1
        put_down(row, cells, cell, content)
    seq = ((content & SEQ_MASK) << 1) | (held == TOMATO)
    row[CONTENT + cell] = SOUP + seq
    row[chef + HELD] = NOTHING
    counts[seat, ev.POTTING + object_kind(held)] += 1
    counts[seat, ev.PLACEMENT] += 1
    if classic and num_ingredients(seq) == limit:
        start_pot(row, seat, cell, counts)
    return True


@scalar
def use_pot(
    row: Array, seat: int, cell: int, tab: Tables, layout: int, classic: bool, shaped: Array, counts: Array
) -> bool:
    """Starts it (empty hand), takes the ready soup (dish) or adds an ingredient; returns whether anything happened."""
    chef = PLAYER + 3 * seat
    held = row[chef + HELD]
    content = row[CONTENT + cell]
    cells = tab.terrain.shape[1]
    if held == NOTHING:
        if classic or cooking_tick(content) >= 0 or (content & SEQ_MASK) <= 1:
            return False
        start_pot(row, seat, cell, counts)
        return True
    if held == DISH:
        if not is_ready(content, tab, layout):
            return False
        row[chef + HELD] = take_up(row, cells, cell)
        counts[seat, ev.SOUP_PICKUP] += 1
        shaped[seat] += tab.shaping[layout, 2]
        return True
    if held > DISH or not add_ingredient(row, seat, cell, cells, tab.max_ingredients[layout], classic, counts):
        return False
    shaped[seat] += tab.shaping[layout, 0]
    return True


@scalar
def soup_value(row: Array, seq: int, tab: Tables, layout: int, classic: bool) -> float:
    """Points for a soup: nothing if not ordered, times the bonus if it is a bonus order (classic looks at neither)."""
    value = tab.value[layout, seq]
    recipe = tab.recipe[seq]
    if classic:
        return value
    if recipe < 0 or not (row[ALL_ORDERS] >> recipe) & 1:
        return 0.0
    if (row[BONUS_ORDERS] >> recipe) & 1:
        return value * tab.order_bonus[layout]
    return value


@scalar
def serve(row: Array, seat: int, tab: Tables, layout: int, classic: bool, counts: Array) -> float:
    """Hands in the held soup; returns its points."""
    chef = PLAYER + 3 * seat
    seq = row[chef + HELD] & SEQ_MASK
    row[chef + HELD] = NOTHING
    value = soup_value(row, seq, tab, layout, classic)
    amount = num_ingredients(seq)
    counts[seat, ev.DELIVERY] += 1
    if amount >= 2:
        counts[seat, ev.DELIVERY + amount - 1] += 1
    if value == 0:
        counts[seat, ev.DELIVERY_UNPAID] += 1
    return value


@scalar
def use_dispenser(
    row: Array,
    seat: int,
    kind: int,
    tab: Tables,
    layout: int,
    num_players: int,
    classic: bool,
    busy_pots: int,
    shaped: Array,
    counts: Array,
) -> bool:
    """Fills an empty hand; returns whether it was empty. `kind` 0 onion, 1 tomato, 2 dish."""
    chef = PLAYER + 3 * seat
    if row[chef + HELD] != NOTHING:
        return False
    cells = tab.terrain.shape[1]
    if ONION + kind == DISH and dish_pickup_useful(row, cells, num_players, classic, busy_pots):
        counts[seat, ev.USEFUL_DISH] += 1
        shaped[seat] += tab.shaping[layout, 1]
    row[chef + HELD] = ONION + kind
    counts[seat, ev.DISPENSE + kind] += 1
    return True


@scalar
def interact(
    row: Array,
    seat: int,
    tab: Tables,
    layout: int,
    num_players: int,
    classic: bool,
    busy_pots: int,
    shaped: Array,
    counts: Array,
) -> tuple[float, bool]:
    """One seat's interaction with the cell it faces. Returns (points, whether anything happened)."""
    chef = PLAYER + 3 * seat
    cell = tab.facing[layout, row[chef + POS], row[chef + FACING]]
    terrain = tab.terrain[layout, cell]
    if terrain == COUNTER:
        return 0.0, use_counter(row, seat, cell, tab.terrain.shape[1], counts)
    if terrain == POT:
        return 0.0, use_pot(row, seat, cell, tab, layout, classic, shaped, counts)
    if terrain == SERVING:
        if row[chef + HELD] < SOUP:
            return 0.0, False
        return serve(row, seat, tab, layout, classic, counts), True
    if terrain == FLOOR:
        counts[seat, ev.IDLE_INTERACT_EMPTY] += 1
        return 0.0, False
    kind = terrain - ONION_DISPENSER
    done = use_dispenser(row, seat, kind, tab, layout, num_players, classic, busy_pots, shaped, counts)
    return 0.0, done


@scalar
def target_cell(row: Array, seat: int, act: int, tab: Tables, layout: int) -> int:
    """Cell a seat would stand on after its action if nobody were in its way."""
    cell = row[PLAYER + 3 * seat + POS]
    if act >= STAY:
        return cell
    ahead = tab.facing[layout, cell, act]
    return ahead if tab.terrain[layout, ahead] == FLOOR else cell


@scalar
def any_collision(row: Array, act: Array, tab: Tables, layout: int, num_players: int) -> bool:
    """Whether two seats would share a cell or trade cells."""
    for i in range(num_players):
        old_i, new_i = row[PLAYER + 3 * i + POS], target_cell(row, i, act[i], tab, layout)
        for j in range(i + 1, num_players):
            old_j, new_j = row[PLAYER + 3 * j + POS], target_cell(row, j, act[j], tab, layout)
            if new_i == new_j or (new_i == old_j and new_j == old_i):
                return True
    return False


@scalar
def move(row: Array, act: Array, tab: Tables, layout: int, num_players: int, counts: Array) -> None:
    """Turns every chef towards its direction and moves all of them, or none if any two would collide."""
    blocked = any_collision(row, act, tab, layout, num_players)
    for seat in range(num_players):
        chef = PLAYER + 3 * seat
        if act[seat] >= STAY:
            continue
        target = target_cell(row, seat, act[seat], tab, layout)
        moved = target != row[chef + POS]
        counts[seat, ev.MOVEMENT] += 1
        counts[seat, ev.COLLISION] += moved and blocked
        if row[chef + FACING] == act[seat] and (blocked or not moved):
            counts[seat, ev.IDLE_MOVEMENT] += 1
            counts[seat, ev.IDLE] += 1
        row[chef + FACING] = act[seat]
        if not blocked:
            row[chef + POS] = target


@scalar
def advance_time(row: Array, tab: Tables, layout: int) -> None:
    """Adds a tick to the clock and to every pot that cooks."""
    row[TIME] += 1
    for k in range(tab.num_pots[layout]):
        cell = CONTENT + tab.pots[layout, k]
        content = row[cell]
        tick = cooking_tick(content)
        if tick >= 0 and tick < tab.cook_time[layout, content & SEQ_MASK]:
            row[cell] += 1 << TICK_SHIFT


@scalar
def step_kitchen(
    row: Array, act: Array, tab: Tables, layout: int, num_players: int, classic: bool, shaped: Array, counts: Array
) -> float:
    """One tick: interactions seat by seat, then movement, then cooking. Returns the team's points.

    row int16 [S], act [P] valid actions, shaped float32 [P] (added to), counts int16 [P, events] (added to).
    """
    rew = 0.0
    busy_pots = -1
    for seat in range(num_players):
        if act[seat] == INTERACT:
            if busy_pots < 0:  # as at the start of the tick, also for the later seats
                busy_pots = count_busy_pots(row, tab, layout)
            points, done = interact(row, seat, tab, layout, num_players, classic, busy_pots, shaped, counts)
            rew += points
            counts[seat, ev.IDLE] += not done
        elif act[seat] == STAY:
            counts[seat, ev.STAYED] += 1
            counts[seat, ev.IDLE] += 1
    move(row, act, tab, layout, num_players, counts)
    advance_time(row, tab, layout)
    return rew


@scalar
def useful_interact(row: Array, seat: int, tab: Tables, layout: int, classic: bool) -> bool:
    """Whether an interaction of this seat would change anything in the present state."""
    chef = PLAYER + 3 * seat
    held = row[chef + HELD]
    cell = tab.facing[layout, row[chef + POS], row[chef + FACING]]
    terrain, content = tab.terrain[layout, cell], row[CONTENT + cell]
    if terrain == COUNTER:
        return (held == NOTHING) != (content == NOTHING)
    if terrain == SERVING:
        return held >= SOUP
    if terrain == FLOOR:
        return False
    if terrain != POT:
        return held == NOTHING
    if held == DISH:
        return is_ready(content, tab, layout)
    if held == NOTHING:
        return not classic and cooking_tick(content) < 0 and (content & SEQ_MASK) > 1
    return held < DISH and pot_takes(content, held, tab.max_ingredients[layout], classic)


@scalar
def useful_action(row: Array, seat: int, act: int, tab: Tables, layout: int, classic: bool) -> bool:
    """Whether an action could change this seat's situation, by the rule with which HSP and ZSC-Eval mask actions.

    Not useful are walking against what one already faces and an interaction without effect; other chefs are no
    obstacles, and staying is always allowed.
    """
    if act == STAY:
        return True
    if act == INTERACT:
        return useful_interact(row, seat, tab, layout, classic)
    chef = PLAYER + 3 * seat
    return row[chef + FACING] != act or target_cell(row, seat, act, tab, layout) != row[chef + POS]
