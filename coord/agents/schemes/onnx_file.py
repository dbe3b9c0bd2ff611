"""`onnx:<file>,obs=lossless`: a network in the exchange format, run by onnxruntime (`pip install coord[onnx]`).

One input [N, ...] takes the observation; the first output gives scores [N, 6], or actions [N], whole numbers. Only the
named file is read: parameters that lie in other files are refused, and so are operators of other libraries.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from coord.agents.players import Agent
from coord.agents.schemes.guard import DECISION_S, FIRST_S, guarded
from coord.agents.schemes.options import FileOptions, parse
from coord.agents.schemes.scores import Scores, ScoringAgent
from coord.errors import UserError
from coord.overcooked import Layout

RUNS_CODE = False
_TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
    "tensor(int16)": np.int16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}


def load(rest: str, layout: Layout, rules: str) -> Agent:
    """The network as an agent.

    Raises:
        UserError: no such file, no ONNX file, onnxruntime missing, other inputs than one observation.
    """
    options = parse("onnx", rest)
    agent_id = f"onnx:{options.path.name}"
    return ScoringAgent(agent_id, options, guarded(agent_id, "loading it", lambda: _network(options), FIRST_S))


def _network(options: FileOptions) -> Scores:
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise UserError(f"{error.name} is missing: pip install 'coord[onnx]'") from error
    data = options.path.read_bytes()
    try:
        graph = onnx.load_model_from_string(data).graph
    except Exception as error:  # the parser's own kinds of error
        raise UserError(f"{options.path} is no ONNX file") from error
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _tensors(graph)):
        raise UserError(f"{options.path} keeps parameters in other files, which are not read: export it as one file")
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1  # the same sums whatever the machine
    settings.log_severity_level = 4
    session = onnxruntime.InferenceSession(data, settings, providers=["CPUExecutionProvider"])
    return _scores(session, onnxruntime)


def _tensors(graph: Any) -> Iterator[Any]:
    """All constants of a graph, with those of loops and branches within."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for inner in (attribute.g, *attribute.graphs):
                if inner.node or inner.initializer:
                    yield from _tensors(inner)


def _scores(session: Any, onnxruntime: Any) -> Scores:
    if len(session.get_inputs()) != 1:
        names = ", ".join(one.name for one in session.get_inputs())
        raise UserError(f"it has the inputs {names}; a network with one observation is expected, others: python:")
    entry, first = session.get_inputs()[0], session.get_outputs()[0].name
    if entry.type not in _TYPES:
        raise UserError(f"its input is {entry.type}, expected one of {', '.join(_TYPES)}")
    dtype = _TYPES[entry.type]
    single = isinstance(entry.shape[0], int) and entry.shape[0] == 1  # exported for one kitchen at a time

    def run(obs: np.ndarray) -> np.ndarray:
        switch = onnxruntime.RunOptions()
        switch.log_severity_level = 4
        watch = threading.Timer(DECISION_S, lambda: setattr(switch, "terminate", True))  # a loop without end
        watch.daemon = True
        watch.start()
        try:
            parts = np.split(obs, len(obs)) if single else [obs]
            outs = [session.run([first], {entry.name: part.astype(dtype)}, switch)[0] for part in parts]
        finally:
            watch.cancel()
        return np.concatenate(outs)

    return run
