"""``python -m edgecomp.bench.peers.serve FOLDER``: load a converted model, time it on request.

It speaks the protocol of the bundle's own runner: one line of JSON when the model is loaded, then
``run SECONDS MINIMUM_RUNS`` is answered with the times of the runs. The end of stdin ends it.
"""

import os
import pathlib
import resource
import sys
import time

import numpy as np

from edgecomp.bench.peers.contract import Loaded
from edgecomp.bench.peers.convert import peer_module
from edgecomp.bench.peers.talk import Channel, speak
from edgecomp.bench.peers.task import read_task


def main(channel: Channel, folder: pathlib.Path) -> None:
    """Serve until stdin ends."""
    task = read_task(folder)
    begin = time.perf_counter_ns()
    loaded = peer_module(task.peer).load(task)
    load_ns = time.perf_counter_ns() - begin
    loaded.run()
    first_run_ns = time.perf_counter_ns() - begin - load_ns
    outputs = {f"output_{i}": array for i, array in enumerate(loaded.fetch())}
    np.savez(folder / "outputs.npz", allow_pickle=False, **outputs)
    channel.say({"load_ns": load_ns, "first_run_ns": first_run_ns, "version": loaded.version})
    for line in sys.stdin:
        _, seconds, minimum_runs = line.split()
        wall, cpu = timed(loaded, float(seconds), int(minimum_runs))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        channel.say({"run_ns": wall, "cpu_ns": cpu, "peak_rss_bytes": peak})
    # Some runtimes' threads do not survive the interpreter's own way of ending.
    sys.stderr.flush()
    os._exit(0)


def timed(loaded: Loaded, seconds: float, minimum_runs: int) -> tuple[list[int], list[int]]:
    """Nanoseconds of each run, by the clock and of the process's processors."""
    wall: list[int] = []
    cpu: list[int] = []
    run, clock, processor = loaded.run, time.perf_counter_ns, time.process_time_ns
    end = clock() + seconds * 1e9
    while len(wall) < minimum_runs or clock() < end:
        cpu_begin, begin = processor(), clock()
        run()
        wall.append(clock() - begin)
        cpu.append(processor() - cpu_begin)
    return wall, cpu


if __name__ == "__main__":
    speak(main)
