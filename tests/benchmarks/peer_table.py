"""A comparison's history file as markdown tables."""

import math

from benchmarks.ceilings import ceilings_name
from benchmarks.peer_turns import OWN
from benchmarks.peer_work import PEERS

_WRONG, _NONE = "!", ""
_PRECISIONS = {"fp32": "fp32", "w8a8": "int8"}


def markdown(history):
    """Times for each precision and number of threads, then signal-to-noise ratios."""
    parts = [_facts(history)]
    for precision, word in _PRECISIONS.items():
        for threads in (1, 2):
            rows = [
                r
                for r in history["rows"]
                if (r["precision"], r["threads"]) == (precision, threads)
            ]
            if rows:
                clock = "processor time" if threads == 1 else "clock"
                title = (
                    f"### {word}, {threads} thread{'s' if threads > 1 else ''}: ms, {clock}"
                )
                parts.append(f"{title}\n\n{_times(rows, _peak(history, precision, threads))}")
        rows = [r for r in history["rows"] if r["precision"] == precision]
        if rows:
            parts.append(f"### {word}: signal to noise against torch, dB\n\n{_accuracy(rows)}")
    return "\n\n".join(parts)


def best_peer(row, clock):
    """The peer with the least lead of the bundle's; None where no peer gave the right answer."""
    usable = {
        name: engine
        for name, engine in row["engines"].items()
        if name != OWN and engine.get("right")
    }
    return min(usable, key=lambda n: usable[n][f"{clock}_ratio"]["value"], default=None)


def clock_of(row):
    """Processor time with one thread, which other work disturbs least."""
    return "cpu" if row["threads"] == 1 else "wall"


def _times(rows, peak):
    peers = _peers_of(rows)
    header = ["model", OWN, "best peer", "times as fast", "95 %"]
    one = rows[0]["threads"] == 1
    header += ["by the clock"] if one else []
    header += ["of the peak", *peers]
    lines = [header, ["---", "---:", "---", *["---:"] * (len(header) - 3)]]
    ratios = []
    for row in rows:
        clock = clock_of(row)
        best = best_peer(row, clock)
        cells = [row["model"], _ms(row["engines"][OWN], clock), best or _NONE]
        if best:
            ratio = row["engines"][best][f"{clock}_ratio"]
            ratios.append(ratio["value"])
            cells += [
                f"**{ratio['value']:.2f}**",
                f"{ratio['low']:.2f} to {ratio['high']:.2f}",
            ]
        else:
            cells += [_NONE, _NONE]
        if one:
            by_clock = best_peer(row, "wall")
            ratio = row["engines"][by_clock]["wall_ratio"]["value"] if by_clock else None
            cells.append(f"{ratio:.2f}" if ratio else _NONE)
        cells.append(_share(row, clock, peak))
        cells += [_cell(row["engines"].get(peer), clock) for peer in peers]
        lines.append(cells)
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    if len(ratios) > 1:
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        behind = sum(ratio < 1 for ratio in ratios)
        text += f"\n\nGeometric mean of {len(ratios)} models {mean:.2f}; behind on {behind}."
    return text


def _accuracy(rows):
    peers = [OWN, *_peers_of(rows)]
    lines = [["model", *peers], ["---", *["---:"] * len(peers)]]
    for model in dict.fromkeys(row["model"] for row in rows):
        row = next(r for r in rows if r["model"] == model)
        lines.append([model, *(_decibels(row["engines"].get(peer)) for peer in peers)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _peers_of(rows):
    return [peer for peer in PEERS if any(peer in row["engines"] for row in rows)]


def _peak(history, precision, threads):
    """G multiply-adds/s that the machine's units do at most; None where not measured."""
    found = history["ceilings"].get(ceilings_name(threads), {})
    key = "float32" if precision == "fp32" else "int8"
    return found.get(f"{key} G multiply-adds/s")


def _share(row, clock, peak):
    if not peak:
        return _NONE
    rate = row["multiply_adds"] / row["engines"][OWN][f"{clock}_ns"]["p50_ns"]
    return f"{rate / peak:.0%}"


def _ms(engine, clock):
    ms = engine[f"{clock}_ns"]["p50_ns"] / 1e6
    return f"{ms:.4f}" if ms < 0.1 else f"{ms:.3f}" if ms < 10 else f"{ms:.2f}"


def _cell(engine, clock):
    if engine is None:
        return _NONE
    if "error" in engine:
        return "fails"
    return _ms(engine, clock) + ("" if engine["right"] else f" {_WRONG}")


def _decibels(engine):
    if engine is None:
        return _NONE
    if "error" in engine:
        return "fails"
    value = engine["sqnr_db"]
    return (
        "other sizes"
        if value is None
        else f"{value:.0f}" + ("" if engine["right"] else f" {_WRONG}")
    )


def _facts(history):
    lines = [f"- {key}: {value}" for key, value in history["machine"].items()]
    for threads, ceilings in history["ceilings"].items():
        text = ", ".join(f"{key} {value}" for key, value in ceilings.items())
        lines.append(f"- ceilings, {threads}: {text}")
    lines.append("- versions: " + ", ".join(f"{k} {v}" for k, v in _versions(history).items()))
    commits = sorted(
        {
            f"{r['edgecomp']['commit']}{'+' if r['edgecomp']['changed'] else ''}"
            for r in history["rows"]
        }
    )
    lines.append(f"- edgecomp at {', '.join(commits)}")
    loads = [load for row in history["rows"] for load in row["load_average"]]
    if loads:
        lines.append(f"- load average while measuring: {min(loads)} to {max(loads)}")
    return "\n".join(lines)


def _versions(history):
    found = dict(history["versions"])
    for row in history["rows"]:
        for engine in row["engines"].values():
            found |= {k: v for k, v in engine.get("versions", {}).items() if v}
    return found
