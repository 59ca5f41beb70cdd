"""What int8 costs on real tasks: edgecomp beside onnxruntime's quantization tool and NNCF.

    python tests/benchmarks/quantized_accuracy.py [--models NAME,...] [--seeds 0,1,2]
        [--nncf-python venv/bin/python] [--json FILE]

Every tool gets the same float file and, for each seed, the same calibration samples, a part drawn
from the model's. edgecomp quantizes with its defaults; each other tool with every setting of
``quantize_by.py`` for the first seed, and with the ``--best`` of them for the others. Of these the
best counts: the one with the smallest mean drop of the task over the seeds. All files run in
onnxruntime, so that only the quantization differs. A file of results that is there already is
added to: an interrupted run goes on where it was.
"""

import dataclasses
import json
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable

import numpy as np

ROOT = pathlib.Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from benchmarks.flags import add_list, new_parser  # noqa: E402
from benchmarks.quantize_by import SETTINGS, save_feeds  # noqa: E402
from real_models import digits, forms  # noqa: E402
from real_models.catalogue import MODELS  # noqa: E402

from edgecomp import api  # noqa: E402
from edgecomp.cache import write_whole  # noqa: E402
from edgecomp.options import DYNAMIC_BITS, WEIGHT_TYPES, QuantizeOptions  # noqa: E402

OWN = "edgecomp"
#: Calibration samples of a seed, as a share of the model's.
SHARE = 0.75


@dataclasses.dataclass(frozen=True)
class Subject:
    """A model and the figure that tells how good it is.

    Attributes:
        figure: name of a figure of the model's score.
        success: that figure -> per cent that are right.
    """

    figure: str
    success: Callable[[float], float] = float


SUBJECTS = {
    "efficientnet_lite0": Subject("top-1 %"),
    "minilm": Subject("probe %"),
    "ocr_recognition": Subject("character errors %", lambda wrong: 100 - wrong),
    "magika": Subject("accuracy %"),
    "digits": Subject("accuracy %"),
}
CANDIDATES = {model.name: model for model in (*MODELS, digits.MODEL)}


class Work:
    """A model, its samples and its float answers, in a folder for files."""

    def __init__(self, name, folder):
        self.model, self.subject, self.folder = CANDIDATES[name], SUBJECTS[name], folder
        folder.mkdir(parents=True, exist_ok=True)
        source = self.model.onnx(folder)
        # Shapes are fixed and the operator set is raised once, for all tools alike.
        self.source = folder / "float.onnx"
        options = QuantizeOptions(precision="fp32", input=self.model.inputs)
        api.save(api.quantize(source, options=options), self.source)
        self.samples, self.pool = self.model.samples(), self.model.calibration()
        self.expected = forms.onnxruntime_outputs(self.source, self.samples)
        self.float = self.judge(self.expected)["success"]

    def calibration(self, seed):
        """Feeds of a seed, and the file that has them for other processes."""
        random = np.random.default_rng(seed)
        count = max(1, round(SHARE * len(self.pool)))
        feeds = [self.pool[i] for i in sorted(random.permutation(len(self.pool))[:count])]
        path = self.folder / f"calibration{seed}.npz"
        if not path.exists():
            save_feeds(feeds, path)
        return feeds, path

    def judge(self, outputs):
        """Per cent right, what is lost of float's in per cent (a gain is luck), dB to float."""
        success = self.subject.success(self.model.score(outputs)[self.subject.figure])
        base = getattr(self, "float", success)
        return {
            "success": float(success),
            "drop": max(0.0, float(100 * (base - success) / base)),
            "db": forms.signal_to_noise(outputs, self.expected),
        }

    def own(self, seed, setting):
        """edgecomp's file of a seed, judged; a setting is a precision, and a method behind +."""
        feeds, _ = self.calibration(seed)
        path = self.folder / f"{OWN}{seed}.onnx"
        precision, _, method = setting.partition("+")
        options = QuantizeOptions(
            precision="w8a8" if precision == "defaults" else precision,
            weight_rounding=method or "nearest",
        )
        plain = options.precision in (*DYNAMIC_BITS, *WEIGHT_TYPES)
        samples = None if plain else feeds
        api.save(api.quantize(self.source, samples, options=options), path)
        return self.judge(forms.onnxruntime_outputs(path, self.samples))

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
                outputs = forms.onnxruntime_outputs(path, self.samples, rewrite=rewrite)
            except Exception as error:
                failed = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
            else:
                return self.judge(outputs)
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


def table(results):
    """Markdown: one row a model and tool."""
    yield "| model | float | tool | setting | right, % by seed | mean drop, % of float | dB |"
    yield "| --- | ---: | --- | --- | --- | ---: | ---: |"
    for name, facts in results.items():
        for tool, settings in facts["tools"].items():
            best = best_setting(settings)
            if best is None:
                reasons = {r.get("error", "") for s in settings.values() for r in s.values()}
                yield f"| {name} | {facts['float']:.2f} | {tool} | none works: {'; '.join(sorted(reasons))[:200]} | | | |"
                continue
            for setting in settings if tool == OWN else [best]:
                rows = list(settings[setting].values())
                right = ", ".join(f"{row['success']:.2f}" for row in rows)
                drop, db = (np.mean([row[key] for row in rows]) for key in ("drop", "db"))
                yield f"| {name} | {facts['float']:.2f} | {tool} | {setting} | {right} | {drop:.2f} | {db:.1f} |"


def summary(results):
    """Lines: mean drop of each tool over the models that it can quantize."""
    for tool in (OWN, *SETTINGS):
        drops = []
        for facts in results.values():
            settings = facts["tools"].get(tool, {})
            best = best_setting(settings)
            if best is not None:
                drops.append(np.mean([r["drop"] for r in settings[best].values()]))
        if drops:
            yield f"{tool}: mean drop {np.mean(drops):.3f} % over {len(drops)} models"


def wanted(arguments, tools):
    """What is to be measured of a model: tool, setting, seed.

    Args:
        arguments: flags.
        tools: tool -> setting -> seed -> result, which grows meanwhile.
    """
    first, *others = arguments.seeds.split(",")
    for tool in arguments.tools:
        settings = SETTINGS.get(tool, arguments.precisions.split(","))
        yield from ((tool, setting, first) for setting in settings)
        best = ranked(
            {name: {first: s[first]} for name, s in tools[tool].items() if first in s}
        )
        for setting in best[: arguments.best]:
            yield from ((tool, setting, seed) for seed in others)


def main():
    """Measure what is missing, print the table."""
    parser = new_parser(__doc__)
    add_list(parser, "--models", SUBJECTS)
    add_list(parser, "--tools", (OWN, *SETTINGS))
    parser.add_argument("--seeds", default="0,1,2", help="with commas between them")
    parser.add_argument(
        "--best", type=int, default=2, help="settings that further seeds are measured for"
    )
    parser.add_argument(
        "--precisions",
        default="defaults",
        help="of edgecomp, with commas between them; +adaround behind one learns its rounding",
    )
    parser.add_argument("--nncf-python", default=sys.executable, metavar="PYTHON")
    parser.add_argument(
        "--again", action="store_true", help="edgecomp's, though there already"
    )
    parser.add_argument("--json", type=pathlib.Path)
    arguments = parser.parse_args()
    pythons = {"nncf": arguments.nncf_python}
    results = {}
    if arguments.json is not None and arguments.json.exists():
        results = json.loads(arguments.json.read_text())
    with tempfile.TemporaryDirectory() as scratch:
        for name in arguments.models:
            if reason := CANDIDATES[name].missing():
                print(f"{name}: {reason}", file=sys.stderr)
                continue
            work = Work(name, pathlib.Path(scratch) / name)
            facts = results.setdefault(name, {"float": work.float, "tools": {}})
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
                print(name, tool, setting, seed, seeds[seed], file=sys.stderr, flush=True)
                if arguments.json is not None:
                    text = json.dumps(results, indent=1) + "\n"
                    write_whole(arguments.json, text.encode())
    print("\n".join([*table(results), "", *summary(results)]))


if __name__ == "__main__":
    main()
