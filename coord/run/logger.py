"""Metrics on disk, always and offline: `metrics.jsonl` (one object per line) and TensorBoard under `tb/`.

Every key is listed in `GLOSSARY`; the table in coord/README.md is compared with it by a test.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from coord.files import atomic_write_text, parse_json

# key -> meaning; a part in angle brackets stands for any name (of an event, a partner, a member).
GLOSSARY: dict[str, str] = {
    "rollout/return": "mean task return of the last 50 episodes (control tasks: 10), mean over members",
    "rollout/return/<member>": "the same for one member of a population",
    "rollout/shaping_coef": "weight of the shaping reward, 1 at the start and 0 at the end of its horizon",
    "train/loss": "sum of the weighted losses of PPO, mean over minibatches and members",
    "train/policy_loss": "clipped policy loss",
    "train/value_loss": "clipped value loss, half a mean square",
    "train/entropy": "entropy of the policy in nats",
    "train/approx_kl": "mean of old minus new log-probability of the actions taken",
    "train/clip_share": "share of actions whose probability ratio left the clip range",
    "train/grad_norm": "norm of a member's gradient before clipping",
    "train/lr": "learning rate",
    "train/ent_coef": "weight of the entropy bonus",
    "train/bc_loss": "cross-entropy of behaviour cloning on the rows it learns from, in nats",
    "eval/bc_loss": "cross-entropy of behaviour cloning on games that it does not learn from, in nats",
    "eval/bc_accuracy": "share of human actions in these games that are predicted right",
    "reward/outer_loss": "loss of labelled pairs under the critic after its trial step (MRN), in nats, sum over heads",
    "reward/meta_grad_norm": "norm of the gradient of that loss by a member's reward model",
    "reward/supervised_grad_norm": "norm of the gradient of the preference loss on the same labels",
    "reward/meta_cosine": "cosine between the two",
    "reward/meta_step_share": "what the meta gradient changes of a bilevel step, over the step's length",
    "rollout/success": "share of the last 10 episodes that succeeded, mean over members; 0 for tasks without success",
    "rollout/success/<member>": "the same for one member",
    "train/critic_loss": "SAC: sum of both heads' mean square errors",
    "train/q": "SAC: mean value of the batch under both heads",
    "train/actor_loss": "SAC: minus the mean soft value",
    "train/alpha": "SAC: entropy temperature",
    "reward/asked": "queries asked of each member",
    "reward/labels": "answers that the reward model has learned from, skipped queries left out",
    "reward/skipped": "queries asked that have no answer: skipped, or pending with people",
    "reward/accuracy": "share of unequal pairs that the reward model predicted right in a session's last pass",
    "reward/holdout_accuracy": "the same on labels held out from training",
    "reward/loss": "cross-entropy of the labels under the reward model in nats, mean over pairs and ensemble",
    "reward/passes": "passes over the labels in a session",
    "reward/steps": "Adam steps of the reward model in a session",
    "reward/rank_correlation": "Spearman's correlation of predicted and true returns of segments of recent episodes",
    "reward/kl": "mean KL divergence of the policy from the imitation policy in nats per decision",
    "reward/kl_coef": "weight of the KL penalty, in standard deviations of the reward per nat",
    "reward/predicted": "mean predicted reward of a rollout, in standard deviations from the mean of recent games",
    "rollout/violations": "true unsafe events so far while learning (`safety.hazards`), mean over members",
    "rollout/violations/<member>": "the same for one member",
    "rollout/cost": "true unsafe events per episode over the last 10 episodes, mean over members",
    "train/multiplier": "weight of the learned cost against the reward, raised while episodes cost more than the limit",
    "reward/unsafe": "labelled segments that people called unsafe",
    "reward/implied": "pairs that the warnings imply and that the last session learned besides the labels",
    "reward/cost_loss": "cross-entropy of the unsafe flags under the learned cost in nats, after a session",
    "reward/cost_accuracy": "share of labelled segments that the learned cost calls unsafe or safe as people did",
    "reward/withheld": "queries that the gate kept from people, because the states are familiar",
    "reward/<what>/<member>": "the same for one member",
    "eval/return": "mean true return of evaluation episodes (kitchens: with drawn actions), mean over members",
    "eval/teacher_score": "kitchens: mean of what the teacher judges by, over evaluation games",
    "eval/with/<partner>": "kitchens: the mean return of the evaluation games with that partner",
    "eval/with/<partner>/<member>": "the same for one member",
    "eval/events/<event>": "how often the ego caused that event in an evaluation game (kitchens, island), mean",
    "eval/events/<event>/<member>": "the same for one member",
    "eval/success": "share of evaluation episodes that succeeded at some step, mean over members",
    "eval/<what>/<member>": "the same for one member",
    "method/replaced": "PBT: how often a member was replaced by a mutated copy of the best so far",
    "method/lr": "PBT: learning rate of the members before it falls with the steps",
    "method/jsd": "TrajeDi: divergence of the members' trajectories, at most log of their number",
    "method/predictor_loss": "E3T: cross-entropy of the partner's next action, in nats",
    "method/predictor_accuracy": "E3T: share of the partner's actions that were predicted right",
    "method/bonus": "MEP: mean bonus of a step in points of task reward, alpha times minus log of the mean policy",
    "method/diversity": "MEP: population diversity, mean entropy plus mean pairwise KL divergence in nats",
    "method/self_play_share": "PPO_BC: share of new episodes that the learner plays with itself",
    "method/agrees_with_teacher": "ours: share of states in which the ego's likeliest action is the scripted cook's",
    "method/learnability": "UPD: mean variance of the returns with the partners that were kept",
    "method/noise": "UPD: mean share of actions that a partner of the next episodes draws from its habit",
    "method/max_prob": "MEP, stage 2: probability of the partner that is drawn most often",
    "method/ensemble": "PECAN: 1 in the ensemble phase, 0 in the population phase",
    "method/context_loss": "PECAN: cross-entropy of the partner's group by one window, every group counting the same",
    "method/context_accuracy": "PECAN: mean over the groups of the share of windows put into the right one",
    "time/steps_per_s": "environment steps per second over all members, collection and learning",
    "time/elapsed_s": "seconds of training, the earlier parts of a resumed run included",
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
        _wait_for_a_later_name(folder / "tb")
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


def _wait_for_a_later_name(folder: Path) -> None:
    """Wait for the second after the one that names the newest event file, at most one second.

    TensorBoard reads event files in the order of their names, which begin with the second of their making: of two
    files of one second, the part that goes on might be read before the part that it takes back.
    """
    names = [path.name.split(".")[3] for path in folder.glob("events.out.tfevents.*")]
    seconds = [int(name) for name in names if name.isdecimal()]
    if seconds:
        time.sleep(min(max(max(seconds) + 1 - time.time(), 0.0), 1.0))


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
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    rows = [row for line in lines if (row := _parse(line)) is not None]
    return [row for row in rows if until is None or row["step"] <= until]


def _parse(line: str) -> dict[str, Any] | None:
    try:
        row = parse_json(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and "step" in row else None


@lru_cache(maxsize=1024)
def _is_listed(key: str) -> bool:
    return any(re.fullmatch(re.sub(r"<\w+>", "[^/]+", entry), key) for entry in GLOSSARY)
