"""One line of the comparison: a bundle and every runtime's form of its model, timed in turns."""

import concurrent.futures
import contextlib
import dataclasses
import datetime as dt
import os
import pathlib

import numpy as np
from benchmarks.peer_work import catalog_name

from edgecomp.bench.compare import FLOAT_SQNR_DB, INT8_SQNR_DB, sqnr_db, take_turns
from edgecomp.bench.engines import BundleEngine
from edgecomp.bench.peer_engine import PeerEngine, PeerModel
from edgecomp.bench.statistics import paired_ratio, summarize
from edgecomp.errors import EdgecompError
from edgecomp.held import scratch_folder

OWN = "edgecomp"
CLOCKS = ("wall", "cpu")


def measure(model, bundle, forms, pythons, *, threads, seconds, rounds):
    """Time everything in turns.

    Args:
        model: ``peer_work.Model``.
        bundle: of it.
        forms: peer -> what ``make_form`` gave.
        pythons: runtime -> interpreter.
        threads: for all.
        seconds: of all turns together.
        rounds: that count.

    Returns:
        A row of the history, as ``peer_table`` reads it.
    """
    data = model.data
    inputs, answers = {bundle.inputs[0].name: data["input"]}, model.answers
    engines, found = {}, {}
    with contextlib.ExitStack() as stack:
        files = PeerModel(bundle, inputs, stack.enter_context(scratch_folder()))
        own = BundleEngine(bundle, threads, inputs)
        engines[OWN] = stack.enter_context(contextlib.closing(own))
        found[OWN] = {"version": own.version, "form": "bundle"}
        opened = _open_all(forms, files, threads, pythons)
        for peer, form in forms.items():
            found[peer] = {key: form[key] for key in ("form", "versions") if key in form}
            if isinstance(opened[peer], PeerEngine):
                engines[peer] = stack.enter_context(contextlib.closing(opened[peer]))
                found[peer]["version"] = opened[peer].version
            else:
                found[peer]["error"] = opened[peer]
        load_before = os.getloadavg()[0]
        turn_seconds = seconds / (len(engines) * (rounds + 1))
        turns = dict(
            zip(
                engines,
                take_turns(list(engines.values()), turn_seconds, rounds=rounds),
                strict=True,
            )
        )
        for name, engine in engines.items():
            found[name] |= _facts(turns[name], turns[OWN], engine.outputs, answers)
            least = INT8_SQNR_DB if files.int8 else FLOAT_SQNR_DB
            found[name]["right"] = (found[name]["sqnr_db"] or -np.inf) >= least
    return {
        "threads": threads,
        "rounds": rounds,
        "turn_seconds": round(turn_seconds, 4),
        "measured": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "load_average": [round(load_before, 2), round(os.getloadavg()[0], 2)],
        "engines": found,
    }


def _open_all(forms, files, threads, pythons):
    """Peer -> engine, or why there is none. Importing a runtime takes seconds: they load at once."""
    groups = {}
    for peer in forms:
        groups.setdefault(catalog_name(peer), []).append(peer)

    def open_group(peers):
        return {peer: _open(peer, forms[peer], files, threads, pythons) for peer in peers}

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as executor:
        found = list(executor.map(open_group, groups.values()))
    return {peer: engine for group in found for peer, engine in group.items()}


def _open(peer, form, files, threads, pythons):
    """The engine, or what failed in one line."""
    if "error" in form:
        return form["error"]
    name = catalog_name(peer)
    # Two engines of one runtime need folders of their own.
    taken = files.folder / f"{name}_{threads}"
    if taken.exists():
        taken.rename(taken.with_name(f"{taken.name}_before"))
    python = {"python": pythons[name]} if name in pythons else {}
    try:
        return PeerEngine(name, files, threads, file=pathlib.Path(form["file"]), **python)
    except EdgecompError as error:
        return error.cause.splitlines()[0]


def _facts(turns, own_turns, outputs, answers):
    """Times by both clocks, ratios to the bundle's, the answer's distance from torch's."""
    facts = {"sqnr_db": _rounded(sqnr_db(*_same_order(answers, outputs)))}
    for clock in CLOCKS:
        mine, own = ([getattr(t, f"{clock}_ns") for t in each] for each in (turns, own_turns))
        facts[f"{clock}_ns"] = _summary(mine)
        if turns is not own_turns:
            ratio = dataclasses.asdict(paired_ratio(own, mine))
            facts[f"{clock}_ratio"] = {k: _rounded(v, 4) for k, v in ratio.items()}
    return facts


def _same_order(answers, outputs):
    """Both by size where that tells them apart: some runtimes give outputs in an order of theirs."""
    sizes = {answer.size for answer in answers}
    if len(sizes) < len(answers):
        return answers, outputs
    return [sorted(arrays, key=np.size) for arrays in (answers, outputs)]


def _summary(rounds):
    """Percentiles of all runs, and each round's median, from which ratios can be had again."""
    summary = dataclasses.asdict(summarize([t for each in rounds for t in each]))
    summary = {
        key: _rounded(value, 4 if key == "spread" else 0) for key, value in summary.items()
    }
    return {**summary, "round_medians": [round(float(np.median(each))) for each in rounds]}


def _rounded(value, digits=2):
    if value is None or isinstance(value, bool | int):
        return value
    return round(value, digits) if digits else round(value)
