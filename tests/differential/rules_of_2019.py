"""The rules of 2019 once more, independent of the rule book: one kitchen, one tick, plain Python on plain values.

Written from what the engine of that year does, for the tests to compare with. It knows nothing of packed rows, of
overcooked-ai 1.1.0 or of its soups of several ingredients: a soup is [ingredient, amount, ticks], as it was then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Spot = tuple[int, int]  # (x, y)
Thing = Any  # "onion", "tomato", "dish", or a soup: (ingredient, amount, ticks)
STEPS: tuple[Spot, ...] = ((0, -1), (0, 1), (1, 0), (-1, 0))  # north, south, east, west
STAY, INTERACT = 4, 5
DISPENSED = {"O": "onion", "T": "tomato", "D": "dish"}


@dataclass
class Chef:
    """Where a chef is, where it looks, and what it holds."""

    spot: Spot
    looks: Spot
    holds: Thing = None


@dataclass
class Kitchen2019:
    """A kitchen with its parameters of 2019; `step` plays one tick."""

    rows: Sequence[str]  # terrain, without start tiles
    chefs: list[Chef]
    cook_time: int = 20
    delivery_reward: float = 20
    num_items_for_soup: int = 3
    shaping: tuple[float, float, float] = (3, 3, 5)  # placement, useful dish, soup
    things: dict[Spot, Thing] = field(default_factory=dict)  # on counters and in pots

    def step(self, joint_act: Sequence[int]) -> tuple[float, list[float]]:
        """One tick: hands in seat order, then feet, then pots. Returns (reward, shaping per seat)."""
        in_use = sum(self.tile(spot) == "P" for spot in self.things)  # pots that are not empty, as the tick begins
        reward, shaped = 0.0, [0.0] * len(self.chefs)
        for seat, act in enumerate(joint_act):
            if act == INTERACT:
                reward += self._use(seat, in_use, shaped)
        self._walk(joint_act)
        for spot, thing in self.things.items():
            if self.tile(spot) == "P" and thing[1] == self.num_items_for_soup and thing[2] < self.cook_time:
                self.things[spot] = (thing[0], thing[1], thing[2] + 1)
        return reward, shaped

    def tile(self, spot: Spot) -> str:
        return self.rows[spot[1]][spot[0]]

    def _use(self, seat: int, in_use: int, shaped: list[float]) -> float:
        chef = self.chefs[seat]
        spot = (chef.spot[0] + chef.looks[0], chef.spot[1] + chef.looks[1])
        tile = self.tile(spot)
        if tile == "X":
            if chef.holds is None:
                chef.holds = self.things.pop(spot, None)
            elif spot not in self.things:
                self.things[spot], chef.holds = chef.holds, None
        elif tile in DISPENSED and chef.holds is None:
            if tile == "D":
                carried = sum(other.holds == "dish" for other in self.chefs)
                lying = any(thing == "dish" for thing in self.things.values())
                shaped[seat] += self.shaping[1] if in_use > carried and not lying else 0
            chef.holds = DISPENSED[tile]
        elif tile == "P":
            shaped[seat] += self._use_pot(chef, spot)
        elif tile == "S" and isinstance(chef.holds, tuple):
            chef.holds = None
            return self.delivery_reward
        return 0.0

    def _use_pot(self, chef: Chef, spot: Spot) -> float:
        soup = self.things.get(spot)
        if chef.holds == "dish" and soup and soup[1] == self.num_items_for_soup and soup[2] >= self.cook_time:
            chef.holds = self.things.pop(spot)
            return self.shaping[2]
        if chef.holds not in ("onion", "tomato"):
            return 0.0
        amount = soup[1] if soup else 0
        if amount == self.num_items_for_soup or (soup and soup[0] != chef.holds):
            return 0.0
        self.things[spot] = (chef.holds, amount + 1, 0)
        chef.holds = None
        return self.shaping[0]

    def _walk(self, joint_act: Sequence[int]) -> None:
        was = [chef.spot for chef in self.chefs]
        goes = list(was)
        for seat, act in enumerate(joint_act):
            if act < STAY:
                self.chefs[seat].looks = STEPS[act]
                ahead = (was[seat][0] + STEPS[act][0], was[seat][1] + STEPS[act][1])
                goes[seat] = ahead if self.tile(ahead) == " " else was[seat]
        pairs = [(i, j) for i in range(len(was)) for j in range(i)]
        if not any(goes[i] == goes[j] or (goes[i] == was[j] and goes[j] == was[i]) for i, j in pairs):
            for chef, spot in zip(self.chefs, goes, strict=True):
                chef.spot = spot

    def picture(self) -> tuple[Any, ...]:
        """All of the state, to be compared with `picture_of`."""
        chefs = [(chef.spot, chef.looks, chef.holds) for chef in self.chefs]
        return chefs, self.things


def picture_of(state: Mapping[str, Any]) -> tuple[Any, ...]:
    """The same of a state mapping in today's form; a mixed soup is equal to none of 2019."""
    chefs = [
        (tuple(chef["position"]), tuple(chef["orientation"]), _plain(chef["held_object"])) for chef in state["players"]
    ]
    return chefs, {tuple(thing["position"]): _plain(thing) for thing in state["objects"]}


def _plain(thing: Mapping[str, Any] | None) -> Thing:
    if thing is None or thing["name"] != "soup":
        return thing and thing["name"]
    names = [item["name"] for item in thing["_ingredients"]]
    return "/".join(sorted(set(names))), len(names), max(0, thing["cooking_tick"])
