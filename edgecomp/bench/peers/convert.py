"""``python -m edgecomp.bench.peers.convert FOLDER``: make a peer's form of a model."""

import dataclasses
import importlib
import pathlib
import time
from typing import cast

from edgecomp.bench.peers.catalog import CATALOG
from edgecomp.bench.peers.contract import Peer
from edgecomp.bench.peers.talk import Channel, speak
from edgecomp.bench.peers.task import read_task


def peer_module(name: str) -> Peer:
    """The module of a runtime."""
    module = importlib.import_module(f"edgecomp.bench.peers.{CATALOG[name].module}")
    return cast("Peer", module)


def main(channel: Channel, folder: pathlib.Path) -> None:
    """Convert, write the result into the task and say it."""
    task = read_task(folder)
    begin = time.perf_counter_ns()
    converted = peer_module(task.peer).convert(task)
    dataclasses.replace(task, file=converted.file, form=converted.form).write()
    taken = time.perf_counter_ns() - begin
    channel.say({"convert_ns": taken, **dataclasses.asdict(converted)})


if __name__ == "__main__":
    speak(main)
