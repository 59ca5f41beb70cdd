"""Bundles against every other runtime that is installed, in turns: tables and a history file.

    python tests/benchmarks/peers.py --prepare
    python tests/benchmarks/peers.py --models mobilenetv2 --precision fp32 --threads 1,2
    python tests/benchmarks/peers.py --table

The first command exports the models, builds bundles and converts the models for each runtime,
which takes minutes and is kept in the cache; the second measures; the third prints the tables of
everything measured so far. Without --prepare or --table all three happen in one go. A line that
the history file has already, of the same sources, is not measured again: an interrupted run goes
on where it was.

Runtimes that are not installed are left out. One that lives in a virtual environment of its own
is named by --peer-python openvino=venv/bin/python. docs/benchmarks.md says how to set them up,
what is measured and how to read it.
"""

import argparse
import datetime as dt
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from benchmarks import peer_table, peer_work  # noqa: E402
from benchmarks.ceilings import ceilings_name, measured_ceilings  # noqa: E402
from benchmarks.flags import add_list, new_parser  # noqa: E402
from benchmarks.machine import processor_facts  # noqa: E402
from benchmarks.networks import MAIN, NETWORKS  # noqa: E402
from benchmarks.peer_turns import measure  # noqa: E402
from benchmarks.zoo import ZOO  # noqa: E402

from edgecomp.bench.peers.catalog import CATALOG  # noqa: E402
from edgecomp.cache import write_whole  # noqa: E402
from edgecomp.cache_folder import cache_folder  # noqa: E402
from edgecomp.errors import Code, EdgecompError  # noqa: E402

EVERY = NETWORKS | ZOO
HISTORY = pathlib.Path(__file__).with_name("history")
_ROUNDS = 15


def prepare(flags, name, precision):
    """The model, its bundle, the stamp of the sources, and each runtime's form."""
    model = peer_work.make_model(name, EVERY[name], flags.cache)
    bundle, stamp = peer_work.make_bundle(model, precision)
    forms = {}
    for peer in flags.peers:
        if precision not in peer_work.PEERS[peer]:
            continue
        python = flags.pythons.get(peer_work.catalog_name(peer), sys.executable)
        try:
            forms[peer] = peer_work.make_form(model, precision, peer, python)
        except EdgecompError as error:
            if error.code not in (Code.PACKAGE_MISSING, Code.FILE_MISSING):
                raise
            tell(f"{peer} is left out: {error.cause}")
            flags.peers = [other for other in flags.peers if other != peer]
            continue
        tell(
            f"{name} {precision} for {peer}: {forms[peer].get('error') or forms[peer]['form']}"
        )
    return model, bundle, stamp, forms


def measure_line(flags, history, name, precision, threads):
    """Measure one row and write it, unless it is there."""
    stamp = peer_work.source_stamp()
    key = {"model": name, "precision": precision, "threads": threads}
    old = next((r for r in history["rows"] if key.items() <= r.items()), None)
    good = old and not peer_table.disturbed(old)
    if good and not flags.again and old["edgecomp"]["sources"] == stamp["sources"]:
        if set(old["engines"]) >= {p for p in flags.peers if precision in peer_work.PEERS[p]}:
            tell(f"{name} {precision} {threads}: there already")
            return
    model, bundle, stamp, forms = prepare(flags, name, precision)
    settings = {"threads": threads, "seconds": flags.seconds, "rounds": flags.rounds}
    row = measure(model, bundle, forms, flags.pythons, **settings)
    row |= {**key, "multiply_adds": bundle.report["coverage"]["multiply_adds"]}
    row["edgecomp"] = stamp
    history["rows"] = [r for r in history["rows"] if r is not old] + [row]
    places = {model: place for place, model in enumerate(EVERY)}
    history["rows"].sort(key=lambda r: (places[r["model"]], r["precision"], r["threads"]))
    write_history(flags.json, history)
    clock = peer_table.clock_of(row)
    for peer, engine in sorted(
        row["engines"].items(), key=lambda e: e[1].get(f"{clock}_ns", {}).get("p50_ns", 1e18)
    ):
        if "error" in engine:
            tell(f"  {peer:24s} {engine['error']}")
            continue
        ratio = engine.get(f"{clock}_ratio", {"value": 1, "low": 1, "high": 1})
        ms = engine[f"{clock}_ns"]["p50_ns"] / 1e6
        interval = f"{ratio['value']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})"
        tell(f"  {peer:24s} {ms:10.4f} ms  {interval}  {engine['sqnr_db']} dB")


def read_history(path):
    """What a file holds, or an empty history."""
    if path.exists():
        return json.loads(path.read_text())
    return {"machine": {}, "ceilings": {}, "versions": {}, "rows": []}


def write_history(path, history):
    """Whole or not at all; numbers of one list on one line, so that differences are readable."""
    text = json.dumps(history, indent=1)
    text = re.sub(r"\[\s+([-\d.,\s]+?)\s+\]", lambda m: f"[{' '.join(m[1].split())}]", text)
    write_whole(path, (text + "\n").encode())


def history_path():
    """history/<date>-<processor>.json."""
    text = processor_facts()["processor"].lower()
    name, _, details = text.partition(", ")
    words = re.findall(r"[a-z0-9]+", re.sub(r"\([^)]*\)|processor|cpu", " ", name))
    words += [f"model{number}" for number in re.findall(r"model (\d+)", details)]
    date = dt.datetime.now(dt.UTC).date().isoformat()
    return HISTORY / f"{'-'.join([date, *words])}.json"


def tell(text):
    print(text, file=sys.stderr, flush=True)


def parse(arguments=None):
    parser = new_parser(__doc__)

    def python_of(text):
        name, _, path = text.partition("=")
        if name not in CATALOG or not path:
            raise argparse.ArgumentTypeError(f"wanted RUNTIME=PYTHON, of {', '.join(CATALOG)}")
        return name, path

    add_list(
        parser,
        "--models",
        [*EVERY, "all"],
        default=MAIN,
        what=f"by default the first {len(MAIN)} ",
    )
    add_list(parser, "--peers", CATALOG, what="by default all that are installed ")
    add_list(parser, "--precision", peer_work.PRECISIONS)
    add_list(parser, "--threads", ["1", "2", "4", "8"], default=["1", "2"])
    parser.add_argument(
        "--seconds",
        type=float,
        default=30,
        help="of turns, for each line; loading comes on top",
    )
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help="of turns that count")
    parser.add_argument(
        "--peer-python", type=python_of, action="append", default=[], metavar="RUNTIME=PYTHON"
    )
    parser.add_argument(
        "--json",
        type=pathlib.Path,
        help="history file; by default history/<date>-<processor>.json beside this script",
    )
    parser.add_argument(
        "--cache",
        type=pathlib.Path,
        default=cache_folder() / "peers",
        help="models, bundles and conversions",
    )
    parser.add_argument(
        "--again", action="store_true", help="measure lines that are there already"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--prepare", action="store_true", help="build and convert, measure nothing"
    )
    what.add_argument("--table", action="store_true", help="print the tables, measure nothing")
    flags = parser.parse_args(arguments)
    flags.pythons = dict(flags.peer_python)
    flags.models = list(EVERY) if "all" in flags.models else flags.models
    flags.peers = [p for p in peer_work.PEERS if peer_work.catalog_name(p) in flags.peers]
    flags.json = flags.json or history_path()
    return flags


def main():
    flags = parse()
    history = read_history(flags.json)
    lines = [(name, precision) for name in flags.models for precision in flags.precision]
    if flags.prepare:
        for name, precision in lines:
            prepare(flags, name, precision)
        return
    if not flags.table:
        history["machine"] = processor_facts()
        history["versions"] = peer_work.own_versions()
        for threads in map(int, flags.threads):
            if flags.again or ceilings_name(threads) not in history["ceilings"]:
                history["ceilings"] |= measured_ceilings([threads])
        for name, precision in lines:
            for threads in map(int, flags.threads):
                tell(f"{name} {precision}, {threads} thread(s)")
                try:
                    measure_line(flags, history, name, precision, threads)
                except EdgecompError as error:
                    tell(f"not measured: {error}")
    print(peer_table.markdown(history))


if __name__ == "__main__":
    main()
