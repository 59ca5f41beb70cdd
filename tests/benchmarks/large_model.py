"""Memory that a build of a large model takes, over the size of its weights.

    python tests/benchmarks/large_model.py [--megabytes 2200] [--form mlp|transformer] [--folder DIR]

Writes a model of random weights with external data, builds it for the host in a process of its
own and prints the largest memory of that process and of all it starts, sampled from /proc (pages
of mapped files count while a process has touched them).
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
from onnx import TensorProto, helper

ROOT = pathlib.Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from benchmarks.flags import new_parser  # noqa: E402

_INTERVAL_S = 0.01


class _Writer:
    """A graph whose weights go into one file beside it."""

    def __init__(self, folder):
        self.data = (folder / "model.data").open("wb")
        self.nodes, self.initializers = [], []
        self.random = np.random.default_rng(0)

    def weight(self, name, *shape):
        """Random weights with the gain of a layer that keeps the size of its input."""
        offset = self.data.tell()
        # Numbers that repeat: random ones take longer than the build.
        block = self.random.standard_normal(1 << 20, np.float32) / np.float32(shape[0] ** 0.5)
        left = int(np.prod(shape))
        while left:
            part = np.roll(block, left)[:left]
            part.tofile(self.data)
            left -= part.size
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape)
        tensor.data_location = TensorProto.EXTERNAL
        length = self.data.tell() - offset
        for key, value in (("location", "model.data"), ("offset", offset), ("length", length)):
            tensor.external_data.append(onnx.StringStringEntryProto(key=key, value=str(value)))
        self.initializers.append(tensor)
        return name

    def small(self, name, array):
        """Contents that are embedded."""
        self.initializers.append(onnx.numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(self, operator, *inputs, **attributes):
        """A node with one result; its name."""
        name = f"y{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name, **attributes))
        return name

    def save(self, path, shape, result):
        """Write the model."""
        self.data.close()
        graph = helper.make_graph(
            self.nodes,
            "large",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(result, TensorProto.FLOAT, None)],
            self.initializers,
        )
        opset = [helper.make_opsetid("", 21)]
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)


def write_mlp(folder, megabytes, width=4096):
    """Products with transposed weights, as torch writes them, and Relu."""
    writer = _Writer(folder)
    x = "x"
    for layer in range(max(1, round(megabytes * 1e6 / (4 * width * width)))):
        weight = writer.weight(f"w{layer}", width, width)
        x = writer.node("Gemm", x, weight, transB=1)
        x = writer.node("Relu", x)
    writer.save(folder / "model.onnx", [1, width], x)
    return folder / "model.onnx"


def write_transformer(folder, megabytes, width=2048, tokens=16):
    """Layers of attention with one head and a feed-forward part, normalized before each."""
    writer = _Writer(folder)
    ones = writer.small("ones", np.ones(width, np.float32))
    scale = writer.small("scale", np.float32(width**-0.5))
    x = "x"
    for layer in range(max(1, round(megabytes * 1e6 / (4 * 12 * width * width)))):
        y = writer.node("LayerNormalization", x, ones)
        q, k, v = (
            writer.node("MatMul", y, writer.weight(f"{n}{layer}", width, width)) for n in "qkv"
        )
        k = writer.node("Transpose", k, perm=[0, 2, 1])
        scores = writer.node("Mul", writer.node("MatMul", q, k), scale)
        y = writer.node("MatMul", writer.node("Softmax", scores), v)
        y = writer.node("MatMul", y, writer.weight(f"o{layer}", width, width))
        x = writer.node("Add", x, y)
        y = writer.node("LayerNormalization", x, ones)
        y = writer.node("MatMul", y, writer.weight(f"u{layer}", width, 4 * width))
        y = writer.node(
            "MatMul", writer.node("Relu", y), writer.weight(f"d{layer}", 4 * width, width)
        )
        x = writer.node("Add", x, y)
    writer.save(folder / "model.onnx", [1, tokens, width], x)
    return folder / "model.onnx"


FORMS = {"mlp": write_mlp, "transformer": write_transformer}


def held_bytes(root):
    """Memory of a process and all below it: (anonymous, mapped files).

    What several of them share counts once (proportional set size).
    """
    anonymous = total = 0
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        try:
            status = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
        except OSError:  # it has ended
            continue
        facts = dict(line.split(":", 1) for line in status.splitlines()[1:])
        total += _kilobytes(facts["Pss"])
        anonymous += _kilobytes(facts["Pss_Anon"])
    return anonymous, total - anonymous


def _kilobytes(text):
    return 1024 * int(text.split()[0])


def peak_of(command, **options):
    """Run a command; its exit status, and the largest memory with what it was made of and when."""
    started = time.monotonic()
    process = subprocess.Popen(command, **options)
    peak, parts, at = 0, (0, 0), 0.0
    while process.poll() is None:
        found = held_bytes(process.pid)
        if sum(found) > peak:
            peak, parts, at = sum(found), found, time.monotonic() - started
        time.sleep(_INTERVAL_S)
    return process.returncode, peak, {"anonymous": parts[0], "files": parts[1], "at_s": at}


def build_command(model, folder):
    """The build that is measured."""
    return [
        sys.executable, "-m", "edgecomp", "build", str(model), "--precision", "float32",
        "--target", "host", "-o", str(folder / "bundle"), "--force",
        "--cache-dir", str(folder / "cache"),
    ]  # fmt: skip


def measure(folder, form, megabytes, **sizes):
    """Build a model and a tiny one of the same form; the figures.

    Args:
        folder: for both; what is in it then takes five times the weights.
        form: of ``FORMS``.
        megabytes: of weights.
        sizes: further arguments of the form's function.
    """
    facts = {}
    for name, size in (("base", 1), ("large", megabytes)):
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        model = FORMS[form](place, size, **({"width": 256} if name == "base" else sizes))
        started = time.monotonic()
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        status, peak, parts = peak_of(build_command(model, place), cwd=ROOT, **quiet)
        if status:
            raise RuntimeError(f"the build of {model} ends with {status}")
        data = (place / "model.data").stat().st_size
        seconds = time.monotonic() - started
        facts[name] = {"peak": peak, "weights": data, "seconds": seconds, **parts}
    large, base = facts["large"], facts["base"]
    large["ratio"] = large["peak"] / large["weights"]
    large["ratio_above_base"] = (large["peak"] - base["peak"]) / large["weights"]
    return facts


def main():
    """Measure and print."""
    parser = new_parser(__doc__)
    parser.add_argument("--megabytes", type=float, default=2200)
    parser.add_argument("--form", choices=FORMS, default="mlp")
    parser.add_argument("--folder", type=pathlib.Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as scratch:
        facts = measure(pathlib.Path(scratch), arguments.form, arguments.megabytes)
    print(json.dumps(facts, indent=1))
    large = facts["large"]
    print(
        f"{large['weights'] / 1e6:.0f} MB of weights: largest memory {large['peak'] / 1e6:.0f} MB, "
        f"{large['ratio']:.2f} of them ({large['ratio_above_base']:.2f} above a tiny model)"
    )


if __name__ == "__main__":
    main()
