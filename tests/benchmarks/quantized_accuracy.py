"""What int8 costs on real tasks: edgecomp beside onnxruntime's quantization tool and NNCF.

    python tests/benchmarks/quantized_accuracy.py [--models NAME,...] [--seeds 0,1,2]
        [--nncf-python venv/bin/python] [--json FILE]

Every tool gets the same float file and, for each seed, the same calibration samples, a part drawn
from the model's; the tasks are those of ``quantized_tasks.py``. edgecomp quantizes with its
defaults, or as ``--precisions`` says: ``ranges by metric`` is ``--ranges-by-metric`` with the labels of
further lines (``labelled_lines.py``); each other tool with every setting of ``quantize_by.py`` for the first seed, and with the
``--best`` of them for the others. Of these the best counts: the one with the smallest mean drop of
the task over the seeds. All files run in onnxruntime, so that only the quantization differs.

What is lost of float is given with its standard error, from the samples whose answers differ; what
is smaller than twice that is chance. Gains count as no loss in the mean over models.

A file of results that is there already is added to: an interrupted run goes on where it was.
"""

import dataclasses
import hashlib
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np

ROOT = pathlib.Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from benchmarks.flags import add_list, new_parser  # noqa: E402
from benchmarks.quantize_by import SETTINGS, save_feeds  # noqa: E402
from benchmarks.quantized_tasks import TASKS  # noqa: E402
from real_models import forms  # noqa: E402

from edgecomp import api  # noqa: E402
from edgecomp.cache import write_whole  # noqa: E402
from edgecomp.options import (  # noqa: E402
    DYNAMIC_BITS,
    WEIGHT_TYPES,
    BudgetOptions,
    QuantizeOptions,
)

OWN = "edgecomp"
#: The setting of it that has labels, and the functions of the models that have some.
BY_METRIC = "ranges by metric"
LABELLED = pathlib.Path(__file__).with_name("labelled_lines.py")
#: Calibration samples of a seed, as a share of the model's.
SHARE = 0.75
#: Samples whose outputs are kept and compared with float's: a line of text has 4 MB.
COMPARED = 50


class Work:
    """A task, its calibration samples and its float answers, in a folder for files."""

    def __init__(self, task, folder):
        self.task, self.model, self.folder = task, task.model, folder
        folder.mkdir(parents=True, exist_ok=True)
        source = self.model.onnx(folder)
        # Shapes are fixed and the operator set is raised once, for all tools alike.
        self.source = folder / "float.onnx"
        options = QuantizeOptions(precision="fp32", input=self.model.inputs)
        api.save(api.quantize(source, options=options), self.source)
        self.pool = self.model.calibration()
        self.marks, self.expected = self.answers(self.source)

    def answers(self, path, *, rewrite=True):
        """Marks [samples, (right, of)] of a file, and the outputs of some samples."""
        marks, kept = [], []
        compared = np.random.default_rng(0).permutation(self.task.count)[:COMPARED]
        run = forms.onnxruntime_session(path, rewrite=rewrite)
        for index in range(self.task.count):
            outputs = run(self.task.feed(index))
            marks.append(self.task.mark(index, outputs))
            if index in compared:
                kept.append(outputs)
        return np.array(marks), kept

    def facts(self):
        """Of the float model: results of other samples are not to be mixed with these."""
        digest = hashlib.sha256(self.marks.tobytes())
        for feed in (*self.pool[:1], self.task.feed(0), self.task.feed(self.task.count - 1)):
            digest.update(b"".join(array.tobytes() for array in feed.values()))
        right, whole = self.marks.sum(0)
        return {
            "samples": digest.hexdigest(),
            "right": float(right),
            "float": float(100 * right / whole),
            "groups": [self.task.group(index) for index in range(self.task.count)],
        }

    def calibration(self, seed):
        """Feeds of a seed, and the file that has them for other processes."""
        random = np.random.default_rng(seed)
        count = max(1, round(SHARE * len(self.pool)))
        feeds = [self.pool[i] for i in sorted(random.permutation(len(self.pool))[:count])]
        path = self.folder / f"calibration{seed}.npz"
        if not path.exists():
            save_feeds(feeds, path)
        return feeds, path

    def judge(self, path, *, rewrite=True):
        """Per cent right, what is lost of float's in per cent, dB to float, samples that differ."""
        marks, outputs = self.answers(path, rewrite=rewrite)
        lost = self.marks[:, 0] - marks[:, 0]
        return {
            "success": float(100 * marks[:, 0].sum() / marks[:, 1].sum()),
            "drop": float(100 * lost.sum() / self.marks[:, 0].sum()),
            "db": forms.signal_to_noise(outputs, self.expected),
            "lost": {int(index): lost[index] for index in np.flatnonzero(lost)},
        }

    def own(self, seed, setting):
        """edgecomp's file of a seed, judged; a setting is a precision, and a method behind +."""
        feeds, _ = self.calibration(seed)
        if setting == BY_METRIC:
            return self.by_metric(feeds, seed)
        path = self.folder / f"{OWN}{seed}.onnx"
        precision, _, method = setting.partition("+")
        options = QuantizeOptions(
            precision="w8a8" if precision == "defaults" else precision,
            weight_rounding=method or "nearest",
        )
        plain = options.precision in (*DYNAMIC_BITS, *WEIGHT_TYPES)
        samples = None if plain else feeds
        api.save(api.quantize(self.source, samples, options=options), path)
        return self.judge(path)

    def by_metric(self, feeds, seed):
        """The same with ranges that labelled samples choose; and what was found of these."""
        path = self.folder / f"{OWN}{seed}.onnx"
        options = BudgetOptions(
            precision="w8a8",
            metric=f"{LABELLED}:{self.model.name}",
            ranges_by_metric=True,
            force=True,
        )
        recipe = self.folder / "recipe.yaml"
        chosen, report = api.within_budget(
            self.source, options, calibration_dataset=feeds, recipe=recipe
        )
        api.save(api.quantize(self.source, feeds, options=chosen), path)
        return {**self.judge(path), "ranges": dataclasses.asdict(report.ranges)}

    def other(self, tool, python, setting, seed):
        """Another tool's, or what it failed with."""
        _, feeds = self.calibration(seed)
        path = self.folder / f"{tool}.onnx"
        script = pathlib.Path(__file__).with_name("quantize_by.py")
        command = [python, str(script), tool, str(self.source), str(feeds), str(path), setting]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = done.stdout.strip().splitlines()
        found = json.loads(lines[-1]) if lines and done.returncode == 0 else {}
        if done.returncode:
            return {"error": (done.stderr.strip().splitlines() or ["ended"])[-1][:200]}
        if "error" in found:
            return found
        # onnxruntime cannot run every file that tools write; some it only spoils by rewriting.
        for rewrite in (True, False):
            try:
                return self.judge(path, rewrite=rewrite)
            except Exception as error:
                failed = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
        return failed


def ranked(settings):
    """Names of settings that worked for all their seeds: most seeds first, then least mean drop."""
    means = {
        name: (
            -len(seeds),
            np.mean([r["drop"] for r in seeds.values()]),
            -np.mean([r["db"] for r in seeds.values()]),
        )
        for name, seeds in settings.items()
        if seeds and not any("error" in r for r in seeds.values())
    }
    return sorted(means, key=means.get)


def best_setting(settings):
    """The first of them, None without one."""
    return next(iter(ranked(settings)), None)


def lost(facts, seeds):
    """What is lost of float's in per cent, the mean over seeds, and its standard error.

    The samples are the same for all seeds: what each of them loses is its mean over the seeds.
    """
    groups = np.array(facts["groups"])
    of_sample = np.zeros(len(groups))
    for row in seeds.values():
        for index, amount in row["lost"].items():
            of_sample[int(index)] += amount / len(seeds)
    of_group = np.bincount(groups, of_sample)
    count = len(of_group)
    error = np.sqrt(count / (count - 1) * ((of_group - of_group.mean()) ** 2).sum())
    return 100 * of_sample.sum() / facts["right"], 100 * error / facts["right"]


def table(results, *, every=False):
    """Markdown: one row a model and tool, or one of each setting, the best first."""
    yield "| model | float | tool | setting | right, % by seed | lost of float, % | dB |"
    yield "| --- | ---: | --- | --- | --- | ---: | ---: |"
    for name, facts in results.items():
        start = f"| {name} | {facts['float']:.2f} |"
        for tool, settings in facts["tools"].items():
            best = best_setting(settings)
            if best is None:
                reasons = {r.get("error", "") for s in settings.values() for r in s.values()}
                yield f"{start} {tool} | none works: {'; '.join(sorted(reasons))[:200]} | | | |"
                continue
            shown = ranked(settings) if every else [best]
            for setting in settings if tool == OWN else shown:
                rows = list(settings[setting].values())
                right = ", ".join(f"{row['success']:.2f}" for row in rows)
                drop, error = lost(facts, settings[setting])
                decibels = np.mean([row["db"] for row in rows])
                yield (
                    f"{start} {tool} | {setting} | {right} | {drop:.2f} ± {error:.2f} "
                    f"| {decibels:.1f} |"
                )


def summary(results):
    """Lines: mean of what each tool loses over the models that it can quantize."""
    for tool in (OWN, *SETTINGS):
        found = []
        for facts in results.values():
            settings = facts["tools"].get(tool, {})
            best = best_setting(settings)
            if best is not None:
                found.append(lost(facts, settings[best]))
        if found:
            drops, errors = np.array(found).T
            error = np.sqrt((errors**2).sum()) / len(found)
            mean = np.maximum(drops, 0.0).mean()
            yield f"{tool}: lost {mean:.3f} ± {error:.3f} % over {len(found)} models"


def wanted(arguments, tools):
    """What is to be measured of a model: tool, setting, seed.

    Args:
        arguments: flags.
        tools: tool -> setting -> seed -> result, which grows meanwhile.
    """
    first, *others = arguments.seeds.split(",")
    for tool in arguments.tools:
        settings = SETTINGS.get(tool, arguments.precisions.split(","))
        asked = [s for s in settings if tool == OWN or re.search(arguments.settings, s)]
        yield from ((tool, setting, first) for setting in asked)
        best = ranked(
            {name: {first: s[first]} for name, s in tools[tool].items() if first in s}
        )
        for setting in best[: arguments.best]:
            yield from ((tool, setting, seed) for seed in others)


def main():
    """Measure what is missing, print the table."""
    parser = new_parser(__doc__)
    add_list(parser, "--models", TASKS)
    add_list(parser, "--tools", (OWN, *SETTINGS))
    parser.add_argument("--seeds", default="0,1,2", help="with commas between them")
    parser.add_argument(
        "--best", type=int, default=2, help="settings that further seeds are measured for"
    )
    parser.add_argument(
        "--precisions",
        default="defaults",
        help="of edgecomp, with commas between them; +adaround behind one learns its rounding; "
        f"'{BY_METRIC}' has labels",
    )
    parser.add_argument("--nncf-python", default=sys.executable, metavar="PYTHON")
    parser.add_argument(
        "--again", action="store_true", help="edgecomp's, though there already"
    )
    parser.add_argument(
        "--settings",
        default="",
        metavar="EXPRESSION",
        help="settings of other tools that it is found in; the rest, another time",
    )
    parser.add_argument(
        "--every", action="store_true", help="print all settings, not the best of each tool"
    )
    parser.add_argument("--json", type=pathlib.Path)
    arguments = parser.parse_args()
    pythons = {"nncf": arguments.nncf_python}
    results = {}
    if arguments.json is not None and arguments.json.exists():
        results = json.loads(arguments.json.read_text())
    with tempfile.TemporaryDirectory() as scratch:
        for name in arguments.models:
            if reason := TASKS[name].model.missing():
                print(f"{name}: {reason}", file=sys.stderr)
                continue
            work = Work(TASKS[name], pathlib.Path(scratch) / name)
            found = work.facts()
            facts = results.setdefault(name, {**found, "tools": {}})
            if facts["samples"] != found["samples"]:
                parser.error(f"{arguments.json} has results of other samples of {name}")
            for tool in arguments.tools:
                facts["tools"].setdefault(tool, {})
            for tool, setting, seed in wanted(arguments, facts["tools"]):
                seeds = facts["tools"][tool].setdefault(setting, {})
                failed = any("error" in row for row in seeds.values())
                known = seed in seeds and not (tool == OWN and arguments.again)
                if known or failed:
                    continue
                python = pythons.get(tool, sys.executable)
                if tool == OWN:
                    seeds[seed] = work.own(int(seed), setting)
                else:
                    seeds[seed] = work.other(tool, python, setting, int(seed))
                told = {key: v for key, v in seeds[seed].items() if key != "lost"}
                print(name, tool, setting, seed, told, file=sys.stderr, flush=True)
                if arguments.json is not None:
                    text = json.dumps(results) + "\n"
                    write_whole(arguments.json, text.encode())
    print("\n".join([*table(results, every=arguments.every), "", *summary(results)]))


if __name__ == "__main__":
    main()
