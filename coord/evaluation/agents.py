"""Agents by name (built-ins, files, folders, pools, kinds of packages): to play or, if not held out, to train with."""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from coord import checkpoint, plugins
from coord.agents import files
from coord.agents.files import AGENT_FILE, HELD_OUT_ID, MANIFEST, StoredAgent
from coord.agents.greedy import GreedyAgent
from coord.agents.players import Agent, RandomAgent, StayAgent
from coord.algos.bc import has_human_games
from coord.errors import UserError, unknown
from coord.evaluation.proxies import SPLIT_OF, load_clone
from coord.overcooked import Layout, load_layout
from coord.references import split_reference, split_scheme

SCRIPTED: dict[str, Callable[[], Agent]] = {"random": RandomAgent, "stay": StayAgent, "greedy": GreedyAgent}
BUILT_IN = (*SCRIPTED, *SPLIT_OF)


def load_agents(
    refs: Sequence[str], layout: str | Layout, rules: str, *, stochastic: bool = True, drop_stay: bool = False
) -> list[Agent]:
    """The agents of several references; a pool stands for all its members.

    Raises:
        UserError: see `load_agent`.
    """
    home = load_layout(layout)
    return [
        _player(found, home, rules, stochastic=stochastic, drop_stay=drop_stay)
        for ref in refs
        for found in _find(ref, home, rules)
    ]


def load_agent(
    ref: str, layout: str | Layout, rules: str, *, stochastic: bool = True, drop_stay: bool = False
) -> Agent:
    """One agent: a built-in name, a .safetensors file, the folder of a run, `<pool>#<member>`, or `<kind>:<what>`.

    Kinds such as `python:`, `onnx:`, `sb3:` are plug-ins of the group `coord.agents`.

    Raises:
        UserError: nothing of that name, a damaged file, or an agent of another layout or other rules.
    """
    found = load_agents([ref], layout, rules, stochastic=stochastic, drop_stay=drop_stay)
    if len(found) != 1:
        raise UserError(f"{ref} is a pool of {len(found)} agents: choose one with {ref}#<member id>")
    return found[0]


def files_of(ref: str) -> list[Path]:
    """The agent files that a reference stands for; none for agents that have no file.

    Raises:
        UserError: a damaged pool.
    """
    kind, rest = split_scheme(ref)
    if kind:
        return list(files_behind(rest)) if callable(files_behind := getattr(_kind(kind), "files", None)) else []
    path, member = split_reference(ref)
    folder = Path(path)
    if (folder / MANIFEST).is_file():
        entries = files.read_manifest(folder)
        return [folder / entry["file"] for entry in entries if member in ("", entry["id"])]
    if (folder / AGENT_FILE).is_file():
        return [folder / AGENT_FILE]
    return [folder] if folder.is_file() else []


def hashes_of(refs: Sequence[str], layout: str | Layout | None = None) -> list[str]:
    """SHA-256 of every agent file of the references; a built-in name stands for itself.

    layout: if given, the clones of people have hashes, too: those of their files there.
    """
    if layout is not None:
        home = load_layout(layout)
        return [h for ref in refs for h in ([load_clone(ref, home).sha256] if ref in SPLIT_OF else hashes_of([ref]))]
    return [h for ref in refs for h in ([checkpoint.file_hash(p) for p in files_of(ref)] or [_foreign_hash(ref)])]


def _foreign_hash(ref: str) -> str:
    """Hash of the file that a reference of any kind names, and of the words about it; others stand for themselves."""
    kind, rest = split_scheme(ref)
    mark = ":" if kind == "python" else ","
    named, _, words = rest.rpartition(mark) if kind == "python" else rest.partition(mark)
    if not kind or not Path(named).is_file():
        return ref
    return hashlib.sha256(f"{kind} {words} {checkpoint.file_hash(named)}".encode()).hexdigest()


def identities(refs: Sequence[str], found: Sequence[StoredAgent]) -> list[list[str]]:
    """What tells whether the same references later stand for the same agents: id, file's hash and content of each."""
    hashes = hashes_of(refs)
    contents = [files.content_hash(agent) for agent in found]
    ids = [agent.card.agent_id for agent in found]
    return [list(row) for row in zip(ids, hashes, contents, strict=True)]


def load_networks(refs: Sequence[str], layout: str | Layout, rules: str) -> list[StoredAgent]:
    """The networks of several references, for evaluation beside a learner; a pool stands for all its members.

    Raises:
        UserError: as `load_agents`; for scripted agents.
    """
    return [found for _, found in _networks(refs, load_layout(layout), rules)]


def _networks(refs: Sequence[str], home: Layout, rules: str) -> Iterator[tuple[str, StoredAgent]]:
    for ref in refs:
        if (kind := split_scheme(ref)[0]) and not getattr(_kind(kind), "NETWORKS", False):
            raise UserError(f"partner {ref}: training takes networks of ours (bc_train, agent files, pools)")
        for found in _find(ref, home, rules):
            if not isinstance(found, StoredAgent):
                raise UserError(f"partner {ref} is scripted: training takes networks (bc_train, agent files, pools)")
            found.check_kitchen(home, rules)
            yield ref, found


def load_training_partners(refs: Sequence[str], layout: str | Layout, rules: str) -> list[StoredAgent]:
    """Networks that training may have as partners; a pool stands for all its members.

    Raises:
        UserError: as `load_networks`; and for anything made from the held-out human games, whatever it is called: the
            built-in `human_proxy`, its file, a renamed copy of it, a pool that holds one.
    """
    if HELD_OUT_ID in refs:
        raise UserError(f"{HELD_OUT_ID} is for evaluation only: training may use bc_train or a pool")
    home = load_layout(layout)
    partners = []
    for ref, found in _networks(refs, home, rules):
        _refuse_held_out(found, ref, home)
        partners.append(found)
    return partners


def _refuse_held_out(found: StoredAgent, ref: str, layout: Layout) -> None:
    """Parameters are compared with the proxy's only where they could be its own: in a file, on features."""
    source = f"partner {ref}" if ref.endswith(found.card.agent_id) else f"partner {ref} ({found.card.agent_id})"
    files.refuse_held_out(found, source)
    if ref not in BUILT_IN and found.net.obs_kind == "features" and has_human_games(layout):
        files.refuse_held_out(found, source, load_clone(HELD_OUT_ID, layout).net.tensors())


def _kind(name: str) -> Any:
    """What a package offers for references `<name>:...`."""
    known = plugins.entries("coord.agents")
    if name not in known:
        raise unknown("kind of agent", f"{name}:", [f"{one}:" for one in known])
    return plugins.find("coord.agents", name, "kind of agent")


def _find(ref: str, layout: Layout, rules: str) -> list[StoredAgent | Agent]:
    """What a reference stands for: agents read from disk, or players that need no file."""
    kind, rest = split_scheme(ref)
    if kind:
        plugin = _kind(kind)
        return [getattr(plugin, "load", plugin)(rest, layout, rules)]
    if ref in SCRIPTED:
        return [SCRIPTED[ref]()]
    if ref in SPLIT_OF:
        return [load_clone(ref, layout)]
    path, member = split_reference(ref)
    if member:
        return [files.read_pool_member(path, member)]
    folder = Path(ref)
    if (folder / MANIFEST).is_file():
        return [files.read_member(folder, entry) for entry in files.read_manifest(folder)]
    if (folder / AGENT_FILE).is_file():
        return [files.read_agent(folder / AGENT_FILE)]
    if folder.is_file():
        _refuse_foreign(folder)
        return [files.read_agent(folder)]
    if folder.suffix or folder.exists() or "/" in ref:
        raise UserError(f"no agent at '{ref}': expected a .safetensors file, a run folder with {AGENT_FILE}, or a pool")
    kinds = [f"<{kind}:...>" for kind in plugins.entries("coord.agents")]
    raise unknown("agent", ref, [*BUILT_IN, *kinds, "<file>.safetensors", "<run folder>", "<pool>", "<pool>#<member>"])


def _refuse_foreign(path: Path) -> None:
    """Raise `UserError`, with the way to load it, for a file that looks like an agent of another library."""
    with path.open("rb") as file:
        start = file.read(64)
    ending = path.suffix.lower()
    if ending == ".py":
        what, ref = "a Python file", f"python:{path}:<name>"
    elif ending == ".onnx" or (ending != ".safetensors" and re.match(rb"\x08[\x03-\x20][\x12:\x1a\x22]", start)):
        what, ref = "an ONNX file", f"onnx:{path},obs=lossless"
    elif start.startswith(b"PK") and _holds(path, "policy.pth"):
        what, ref = "an archive of Stable-Baselines3", f"sb3:{path},obs=features"
    elif start.startswith((b"PK", b"\x80")) or ending in (".pt", ".pth", ".pkl", ".pickle"):
        what = "a pickle or an archive of torch, which is not opened"
        ref = "python:<file.py>:<name> with a file of yours"
    else:
        return
    raise UserError(f"{path} is not a coord agent: it looks like {what}; try {ref}")


def _holds(path: Path, name: str) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return name in archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError):
        return False


def _player(found: StoredAgent | Agent, layout: Layout, rules: str, *, stochastic: bool, drop_stay: bool) -> Agent:
    if not isinstance(found, StoredAgent):
        if callable(prefer := getattr(found, "prefer", None)):
            prefer(stochastic=stochastic)
        return found
    found.check_kitchen(layout, rules)
    return found.player(stochastic=stochastic, drop_stay=drop_stay)
