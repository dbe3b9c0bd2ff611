"""The published methods by name: those that make a pool of partners, and those that train egos."""

from __future__ import annotations

from populations.methods import (
    belief,
    bp,
    cec,
    cole,
    e3t,
    fcp,
    hsp,
    mep,
    pbt,
    pecan,
    ppo_bc,
    recurrent,
    self_play,
    state_aug,
    trajedi,
    uniform,
    upd,
)
from populations.training import Method

# coord population method=<name>
POOL_METHODS: dict[str, Method] = {
    "sp": self_play.make,
    "fcp": fcp.make,
    "pbt": pbt.make,
    "trajedi": trajedi.make,
    "mep": mep.make_pool,
    "hsp": hsp.make,
    "bp": bp.make,
}
# coord train method=<name>
EGO_METHODS: dict[str, Method] = {
    "ppo": uniform.make,
    "mep": mep.make_ego,
    "ppo_bc": ppo_bc.make,
    "state_aug": state_aug.make,
    "upd": upd.make,
    "cole": cole.make,
    "e3t": e3t.make,
    "pecan": pecan.make,
    "belief": belief.make,
    "recurrent": recurrent.make,
    "cec": cec.make,
}
