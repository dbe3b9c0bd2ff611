"""The three steps of `coord rlhf`, and what they leave in the folder of a run."""

from __future__ import annotations

STEPS = ("imitation", "reward", "policy")  # in this order, each in a folder of that name
SCORE_FILE = "score.json"  # in a step's folder; that it is there says that the step is done
RESULT_FILE = "result.json"
