"""What is counted per episode and seat. The names cover the event features of HSP and ZSC-Eval (see zsc notes, 2.1).

| event | counted when the seat ... |
|---|---|
| put_{onion,tomato,dish,soup}_on_counter | puts what it holds on an empty counter |
| pick_{onion,tomato,dish,soup}_from_counter | takes it from a counter |
| {onion,tomato,dish}_from_dispenser | takes it from its dispenser |
| useful_dish_pickup | takes a dish from the dispenser when overcooked-ai calls that useful (two seats only): no dish |
| | lies on a counter, and fewer are held than pots were partly filled, cooking or ready as the tick began |
| soup_pickup | takes a ready soup out of a pot |
| potting_onion, potting_tomato | puts it into a pot |
| placement_in_pot | either of the two |
| pot_started | makes a pot start (classic: by the last ingredient; overcooked-ai: by an empty hand) |
| delivery | serves a soup |
| delivery_two_items, delivery_three_items | serves a soup of that many ingredients |
| delivery_unpaid | serves a soup that pays nothing |
| stay, movement | chooses to stay; chooses a direction |
| idle_movement | chooses a direction and keeps tile and orientation |
| idle_interact_counter | interacts with a counter to no effect |
| idle_interact_empty | interacts with floor |
| collision | was to change its tile, but the collision rule kept every chef in place |
| idle | ends the tick as it began: same tile, same orientation, and no interaction with effect |
"""

from __future__ import annotations

EVENTS: tuple[str, ...] = (
    "put_onion_on_counter",
    "put_tomato_on_counter",
    "put_dish_on_counter",
    "put_soup_on_counter",
    "pick_onion_from_counter",
    "pick_tomato_from_counter",
    "pick_dish_from_counter",
    "pick_soup_from_counter",
    "onion_from_dispenser",
    "tomato_from_dispenser",
    "dish_from_dispenser",
    "useful_dish_pickup",
    "soup_pickup",
    "potting_onion",
    "potting_tomato",
    "placement_in_pot",
    "pot_started",
    "delivery",
    "delivery_two_items",
    "delivery_three_items",
    "delivery_unpaid",
    "stay",
    "movement",
    "idle_movement",
    "idle_interact_counter",
    "idle_interact_empty",
    "collision",
    "idle",
)
NUM_EVENTS = len(EVENTS)

# Compiled code needs plain integers: the first of each family of four or three, then the single ones.
PUT = EVENTS.index("put_onion_on_counter")
PICK = EVENTS.index("pick_onion_from_counter")
DISPENSE = EVENTS.index("onion_from_dispenser")
USEFUL_DISH = EVENTS.index("useful_dish_pickup")
SOUP_PICKUP = EVENTS.index("soup_pickup")
POTTING = EVENTS.index("potting_onion")
PLACEMENT = EVENTS.index("placement_in_pot")
POT_STARTED = EVENTS.index("pot_started")
DELIVERY = EVENTS.index("delivery")
DELIVERY_UNPAID = EVENTS.index("delivery_unpaid")
STAYED = EVENTS.index("stay")
MOVEMENT = EVENTS.index("movement")
IDLE_MOVEMENT = EVENTS.index("idle_movement")
IDLE_INTERACT_COUNTER = EVENTS.index("idle_interact_counter")
IDLE_INTERACT_EMPTY = EVENTS.index("idle_interact_empty")
COLLISION = EVENTS.index("collision")
IDLE = EVENTS.index("idle")
