"""Run an ONNX model in onnxruntime, in a process of its own, on request.

``python -m edgecomp.bench.onnxruntime_worker MODEL.onnx INPUTS.npz THREADS`` writes one JSON
line when it is ready; then each line ``SECONDS`` on stdin runs for that long, at least once, and
writes one line with the runs' times. The end of stdin ends it.
"""

import json
import pathlib
import sys
import time
from typing import Any

import numpy as np

from edgecomp.onnxruntime_library import load_onnxruntime


def main(arguments: list[str]) -> None:
    """Serve until stdin ends."""
    model, inputs, threads = pathlib.Path(arguments[0]), arguments[1], int(arguments[2])
    begin = time.perf_counter_ns()
    session = _open(model, threads)
    loaded = time.perf_counter_ns() - begin
    with np.load(inputs, allow_pickle=False) as file:
        feed = {i.name: file[i.name] for i in session.get_inputs()}
    first = _timed(session, feed, 0)
    version = load_onnxruntime().__version__
    _say({"load_ns": loaded, "first_run_ns": first["run_ns"][0], "version": version})
    for line in sys.stdin:
        _say(_timed(session, feed, float(line)))


def _open(model: pathlib.Path, threads: int) -> Any:
    onnxruntime = load_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # The other program has its turn after this one: threads that still spin would slow it.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        str(model), options, providers=["CPUExecutionProvider"]
    )


def _timed(session: Any, feed: dict[str, Any], seconds: float) -> dict[str, list[int]]:
    wall: list[int] = []
    cpu: list[int] = []
    end = time.perf_counter_ns() + seconds * 1e9
    while not wall or time.perf_counter_ns() < end:
        cpu_begin, begin = time.process_time_ns(), time.perf_counter_ns()
        session.run(None, feed)
        wall.append(time.perf_counter_ns() - begin)
        cpu.append(time.process_time_ns() - cpu_begin)
    return {"run_ns": wall, "cpu_ns": cpu}


def _say(content: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
