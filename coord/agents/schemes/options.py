"""What a reference says beside the file: `obs=` what the network sees, `choose=` how it decides."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from coord import checkpoint
from coord.errors import UserError, unknown

NETWORK_OBS = ("features", "lossless", "index")  # arrays; mappings are no input of a network
CHOICES = ("sample", "best")
MOST_BYTES = 2**29  # of one file or part of an archive: half a gibibyte is no cook


@dataclass(frozen=True)
class FileOptions:
    """A file, the observation that it is given, and whether the best action is taken (None: as the command says)."""

    path: Path
    obs: str
    stochastic: bool | None

    @property
    def sha256(self) -> str:
        """Of the file."""
        return checkpoint.file_hash(self.path)


def parse(scheme: str, rest: str) -> FileOptions:
    """`<file>,obs=<kind>[,choose=sample|best]`.

    Raises:
        UserError: no such file, one that is too large, `obs=` missing, an unknown word or value.
    """
    name, *words = rest.split(",")
    given = dict(word.partition("=")[::2] for word in words)
    for word in given:
        if word not in ("obs", "choose"):
            raise unknown(f"word in '{scheme}:{rest}'", word, ("obs=<what it sees>", "choose=sample|best"))
    path = Path(name)
    if not path.is_file():
        raise UserError(f"{scheme}:{rest}: no file at '{name}'")
    if path.stat().st_size > MOST_BYTES:
        raise UserError(f"{scheme}:{rest}: {path} is larger than {MOST_BYTES >> 20} MiB")
    if "obs" not in given:
        raise UserError(f"{scheme}:{rest}: what does it see? say one of {', '.join(f'obs={k}' for k in NETWORK_OBS)}")
    if given["obs"] not in NETWORK_OBS:
        raise unknown(f"observation of {scheme}:", given["obs"], NETWORK_OBS)
    if given.get("choose", "best") not in CHOICES:
        raise unknown(f"way to choose of {scheme}:", given["choose"], CHOICES)
    return FileOptions(path, given["obs"], given["choose"] == "sample" if "choose" in given else None)
