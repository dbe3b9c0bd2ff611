"""Metrics on disk, always and offline: `metrics.jsonl` (one object per line) and TensorBoard under `tb/`.

Every key is listed in `GLOSSARY`; the table in coord/README.md is compared with it by a test.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from coord.checkpoint import atomic_write_text

# key -> meaning; a part in angle brackets stands for any name (of an event, a partner, a member).
GLOSSARY: dict[str, str] = {
    "rollout/return": "mean task return of the last finished episodes, over members",
    "rollout/return/<member>": "the same for one member of a population",
    "rollout/shaped_return": "mean shaped return per seat of the last finished episodes, before annealing",
    "rollout/episodes": "episodes finished so far",
    "rollout/event/<event>": "mean count of an event per episode and seat",
    "train/policy_loss": "clipped policy loss of PPO, mean over minibatches",
    "train/value_loss": "value loss",
    "train/entropy": "entropy of the policy in nats",
    "train/approx_kl": "approximate KL divergence from the collecting policy",
    "train/clip_share": "share of samples whose probability ratio was clipped",
    "train/explained_variance": "1 - Var(ret - val) / Var(ret)",
    "train/grad_norm": "norm of the gradient before clipping",
    "train/lr": "learning rate",
    "train/ent_coef": "coefficient of the entropy bonus",
    "train/shaping": "share of the shaping reward that is still added",
    "train/bc_loss": "cross-entropy of behaviour cloning on its training rows",
    "eval/bc_loss": "cross-entropy of behaviour cloning on held-out rows",
    "eval/bc_accuracy": "share of held-out human actions predicted right",
    "eval/return/<partner>": "mean return of evaluation episodes with that partner",
    "xp/return/<partner>": "mean cross-play return with that partner",
    "time/steps_per_s": "environment steps per second since the last row, collection and learning",
    "time/collect_s": "seconds of the last update spent collecting",
    "time/learn_s": "seconds of the last update spent learning",
    "time/elapsed_s": "seconds of training so far, earlier parts of a resumed run included",
}


class Logger:
    """Appends metrics to a run folder.

    Args:
        folder: the run folder.
        resume_step: env step of the checkpoint that training goes on from; rows beyond it, which a killed run
            may have left behind, are removed first. None starts afresh.
    """

    def __init__(self, folder: Path, *, resume_step: int | None = None) -> None:
        from torch.utils.tensorboard import SummaryWriter  # takes seconds to import

        self._path = folder / "metrics.jsonl"
        rows = [] if resume_step is None else read_metrics(self._path, until=resume_step)
        atomic_write_text(self._path, "".join(json.dumps(row) + "\n" for row in rows))
        self._file: TextIO = open(self._path, "a", encoding="utf-8")  # noqa: SIM115 (closed by close)
        purge_step = None if resume_step is None else resume_step + 1
        self._board = SummaryWriter(str(folder / "tb"), purge_step=purge_step, flush_secs=10)

    def __enter__(self) -> Logger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Append one row at `step` environment steps and flush it, so that it survives a kill.

        Raises:
            ValueError: a key that the glossary does not list.
        """
        check_keys(metrics)
        values = {key: float(value) for key, value in metrics.items()}
        # JSON has no NaN and no infinity: null keeps the line readable for every parser.
        plain = {key: value if math.isfinite(value) else None for key, value in values.items()}
        self._file.write(json.dumps({"step": int(step), **plain}) + "\n")
        self._file.flush()
        for key, value in values.items():
            self._board.add_scalar(key, value, int(step))

    def close(self) -> None:
        """Flush and close both files."""
        self._file.close()
        self._board.close()


def check_keys(keys: Mapping[str, Any]) -> None:
    """Raise ValueError for the first key that matches no entry of the glossary."""
    for key in keys:
        if not _is_listed(key):
            raise ValueError(f"metric '{key}' is not in the glossary of coord/run/logger.py")


def read_metrics(path: Path, *, until: int | None = None) -> list[dict[str, Any]]:
    """Rows of a `metrics.jsonl` at steps up to `until`; a last line cut short by a kill is left out.

    A file that does not exist has no rows.
    """
    if not path.exists():
        return []
    rows = [
        row for line in path.read_text(encoding="utf-8").splitlines() if (row := _parse(line)) is not None
    ]
    return [row for row in rows if until is None or row["step"] <= until]


def _parse(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and "step" in row else None


@lru_cache(maxsize=1024)
def _is_listed(key: str) -> bool:
    return any(re.fullmatch(re.sub(r"<\w+>", "[^/]+", entry), key) for entry in GLOSSARY)
