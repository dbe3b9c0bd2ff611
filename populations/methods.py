"""The published methods by name: those that make a pool of partners, and those that train egos."""

from __future__ import annotations

from populations import bp, fcp, hsp, self_play, uniform
from populations.training import Method

# coord population method=<name>
POOL_METHODS: dict[str, Method] = {"sp": self_play.make, "fcp": fcp.make, "hsp": hsp.make, "bp": bp.make}
EGO_METHODS: dict[str, Method] = {"ppo": uniform.make}  # coord train method=<name>
