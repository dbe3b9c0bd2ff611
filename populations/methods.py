"""The published methods by name: those that make a pool of partners, and those that train egos."""

from __future__ import annotations

from populations import fcp, self_play, uniform
from populations.training import Method

POOL_METHODS: dict[str, Method] = {"sp": self_play.make, "fcp": fcp.make}  # coord population method=<name>
EGO_METHODS: dict[str, Method] = {"ppo": uniform.make}  # coord train method=<name>
