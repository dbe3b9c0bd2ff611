"""One root seed, many named generators: adding a consumer of randomness never shifts the others."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # torch takes seconds to import, and the kitchen alone does not need it
    import torch


def derive(seed: int, *names: str | int) -> int:
    """A 63-bit seed that depends on the root seed and on the path of names, e.g. `derive(0, "env", 3)`."""
    text = "\x1f".join([str(int(seed)), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def member_seeds(seed: int, count: int) -> list[int]:
    """One seed per member of a population, whatever their number."""
    return [derive(seed, "member", m) for m in range(count)]


def rng(seed: int, *names: str | int) -> np.random.Generator:
    """The numpy generator of that name (PCG64)."""
    return np.random.default_rng(derive(seed, *names))


def torch_generator(seed: int, *names: str | int, device: str = "cpu") -> torch.Generator:
    """The torch generator of that name on `device`."""
    import torch

    gen = torch.Generator(device=device)
    gen.manual_seed(derive(seed, *names))
    return gen


def get_state(gen: np.random.Generator | torch.Generator) -> dict[str, Any]:
    """State of a generator as JSON can hold it, for a checkpoint."""
    if isinstance(gen, np.random.Generator):
        return dict(gen.bit_generator.state)
    return {"bit_generator": "torch", "state": gen.get_state().numpy().tobytes().hex()}


def set_state(gen: np.random.Generator | torch.Generator, state: dict[str, Any]) -> None:
    """Put a generator back to a state taken by `get_state`.

    Raises:
        ValueError: the state belongs to another kind of generator.
    """
    if isinstance(gen, np.random.Generator):
        gen.bit_generator.state = state
        return
    if state["bit_generator"] != "torch":
        raise ValueError(f"state of a {state['bit_generator']} generator given to a torch generator")
    import torch

    gen.set_state(torch.frombuffer(bytearray.fromhex(state["state"]), dtype=torch.uint8))


def to_bytes(gen: np.random.Generator) -> np.ndarray:
    """The same state as an array of bytes, to lie beside other arrays in a checkpoint."""
    return np.frombuffer(json.dumps(get_state(gen)).encode(), np.uint8).copy()


def from_bytes(gen: np.random.Generator, state: Any) -> None:
    """Put a generator back to a state taken by `to_bytes` (array or tensor)."""
    set_state(gen, json.loads(bytes(np.asarray(state)).decode()))
