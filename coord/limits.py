"""Bounds of the numbers in configurations, by what the numbers are; a field is declared with one of these types.

`coord.run.config` checks them where text and YAML become a configuration, and nowhere else. An upper bound is far above
whatever made sense so far: it is there to refuse 1e9 kitchens in one line. Whether a run fits into the machine is
another question, see `coord.run.memory`. Neither NaN nor infinity is within any bounds.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt, MaxLen

LARGEST = 10**6  # for what nothing narrower is known about

Count = Annotated[int, Ge(1), Le(LARGEST)]
CountOrNone = Annotated[int, Ge(0), Le(LARGEST)]  # 0 stands for none
Minibatches = Annotated[int, Ge(1), Le(4096)]  # of a rollout
Members = Annotated[int, Ge(1), Le(1000)]
Steps = Annotated[int, Ge(1), Le(10**12)]
StepsOrNone = Annotated[int, Ge(0), Le(10**12)]
Horizon = Annotated[int, Ge(1), Le(32767)]  # the clock of a kitchen is an int16
Seed = Annotated[int, Ge(0), Le(2**63 - 1)]
Width = Annotated[int, Ge(1), Le(65536)]  # of a layer
Widths = Annotated[tuple[Width, ...], MaxLen(32)]
Processes = Annotated[int, Ge(0), Le(1024)]
Seat = Annotated[int, Ge(0), Le(3)]

Real = Annotated[float, Ge(-1e6), Le(1e6)]
NotNegative = Annotated[float, Ge(0), Le(1e6)]
Positive = Annotated[float, Gt(0), Le(1e6)]
Share = Annotated[float, Ge(0), Le(1)]
ShareAboveZero = Annotated[float, Gt(0), Le(1)]
ShareBelowOne = Annotated[float, Ge(0), Lt(1)]
HalfToOne = Annotated[float, Ge(0.5), Le(1)]
UpToHalf = Annotated[float, Ge(0), Le(0.5)]
Seconds = Annotated[float, Ge(0), Le(31_536_000)]  # a year
RewardScale = Annotated[float, Ge(0), Le(3e38)]  # what float32 holds
TickRate = Annotated[float, Ge(0.5), Le(60)]  # Hz
Ticks = Annotated[int, Ge(1), Le(30_000)]  # of a game that people play
