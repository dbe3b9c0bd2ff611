"""The device that networks learn on is asked of PyTorch before anything is built."""

from __future__ import annotations

import pytest
import torch

from coord.errors import UserError
from coord.preference.learners.check import _check_device


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever PyTorch would answer with an exception of its own."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    _check_device("cpu")
    _check_device("cuda")
    _check_device("cuda:0")
    for text in ("potato", "mps", "", "cuda:x", "cpu cuda"):
        with pytest.raises(UserError, match="unknown device"):
            _check_device(text)
    with pytest.raises(UserError, match="device=cuda:1: PyTorch finds 1"):
        _check_device("cuda:1")
