"""Spoiled models: does edgecomp refuse what onnxruntime refuses, and how?

    python tests/conformance/rejections.py [OPERATOR ...] [--json FILE]

One test of each operator in ONNX's suite is spoiled in many ways: inputs left out, of other types,
shapes or contents, attributes left out or of other values, undefined results, another operator
set. For each onnxruntime loads and runs the model, edgecomp reads it, runs its passes and plans it
for this machine. Printed are crashes of edgecomp, models that only onnxruntime refuses, and errors
that name no node. onnxruntime ends the process for some models: each operator has its own.
"""

import argparse
import collections
import contextlib
import copy
import io
import json
import multiprocessing
import pathlib
import resource
import signal
import sys
import warnings

import numpy as np
import onnx
from onnx import TensorProto, helper

ROOT = pathlib.Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from conformance import suite  # noqa: E402

from edgecomp import api  # noqa: E402
from edgecomp.errors import Code, EdgecompError  # noqa: E402
from edgecomp.frontend.input_spec import InputSpec  # noqa: E402
from edgecomp.frontend.load import load_model  # noqa: E402
from edgecomp.graph.qdq import is_quantized  # noqa: E402
from edgecomp.lower.check import check_model  # noqa: E402
from edgecomp.passes.pipeline import float_passes, quantized_passes, run_passes  # noqa: E402

TYPES = (np.float32, np.int64, np.bool_, np.uint8)
SECONDS = 30
MEMORY_BYTES = 8 << 30


class Spoiled:
    """A model, what it is fed and which inputs are known when it is built."""

    def __init__(self, case):
        self.model = copy.deepcopy(case.model)
        self.feeds = dict(
            zip([v.name for v in self.model.graph.input], case.feeds[0], strict=False)
        )
        self.bound = set(case.bound)

    @property
    def node(self):
        return self.model.graph.node[0]

    def feed(self, name, array):
        """Other contents of an input, with its type and shape."""
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        (port,) = [v for v in self.model.graph.input if v.name == name]
        port.type.CopyFrom(helper.make_tensor_type_proto(kind, array.shape))
        self.feeds[name] = np.ascontiguousarray(array)
        self.forget_shapes()
        return self

    def attribute(self, name, value=None):
        """Without an attribute, or with another value."""
        kept = [each for each in self.node.attribute if each.name != name]
        del self.node.attribute[:]
        self.node.attribute.extend(kept)
        if value is not None:
            self.node.attribute.append(helper.make_attribute(name, value))
        self.forget_shapes()
        return self

    def forget_shapes(self):
        for port in self.model.graph.output:
            if port.type.HasField("tensor_type"):
                port.type.tensor_type.ClearField("shape")


def spoilings(case):
    """Pairs of what was done, and the model."""
    node = case.model.graph.node[0]
    for index, name in enumerate(node.input):
        if not name:
            continue
        spoiled = Spoiled(case)
        spoiled.node.input[index] = ""
        yield f"without input {index}", spoiled
        array = spoiled.feeds.get(name)
        if isinstance(array, np.ndarray):
            for what, other in _other_contents(array, fixed=name in case.bound):
                yield f"input {index} {what}", Spoiled(case).feed(name, other)
    for attribute in node.attribute:
        yield f"without {attribute.name}", Spoiled(case).attribute(attribute.name)
        for value in _other_values(attribute):
            yield f"{attribute.name} {value}", Spoiled(case).attribute(attribute.name, value)
    yield from _other_nodes(case)


def _other_contents(array, *, fixed):
    for kind in TYPES:
        if array.dtype != kind and array.dtype.kind in "fiub":
            with np.errstate(all="ignore"):
                yield np.dtype(kind).name, array.astype(kind)
    yield "with a dimension more", array[None]
    if array.ndim and array.size:
        yield "with a dimension less", array[0]
        yield "longer", np.concatenate([array, array[:1]])
        yield "wider", np.concatenate([array, array[..., :1]], -1)
        yield "empty", array[:0]
        yield "scalar", array.reshape(-1)[0].reshape(())
    if array.dtype.kind in "iu" and (fixed or array.dtype.kind == "i"):
        yield "huge", np.full_like(array, np.iinfo(array.dtype).max)
        if array.dtype.kind == "i":
            yield "negative", np.full_like(array, -3)


def _other_values(attribute):
    kinds = onnx.AttributeProto
    if attribute.type == kinds.INT:
        return [-1000, 1000, 2**40, -1, 0, "text", 1.5]
    if attribute.type == kinds.INTS:
        own = list(attribute.ints)
        others = [[-5] * len(own), [0] * len(own), [2**40] * len(own)]
        return [[*own, 1], own[:-1] or 7, *others]
    if attribute.type == kinds.STRING:
        return ["nonsense", 3]
    if attribute.type == kinds.FLOAT:
        return [float("nan"), -1.0, "text"]
    return []


def _other_nodes(case):
    spoiled = Spoiled(case)
    spoiled.node.input.append(spoiled.node.input[0] if spoiled.node.input else "x")
    yield "one input more", spoiled
    spoiled = Spoiled(case)
    spoiled.node.output.append("more")
    yield "one output more", spoiled
    yield "unknown attribute", Spoiled(case).attribute("unknown", 3)
    spoiled = Spoiled(case)
    spoiled.node.output[0] = "elsewhere"
    yield "undefined output", spoiled
    spoiled = Spoiled(case)
    spoiled.node.op_type += "X"
    yield "unknown operator", spoiled
    spoiled = Spoiled(case)
    for index, port in enumerate(case.model.graph.output):
        if port.type.HasField("tensor_type"):
            other = TensorProto.INT16, [1, 2, 3, 4, 5, 6, 7]
            spoiled.model.graph.output[index].type.CopyFrom(
                helper.make_tensor_type_proto(*other)
            )
    yield "another output type", spoiled
    spoiled = Spoiled(case)
    for each in spoiled.model.opset_import:
        each.version = 1
    yield "operator set 1", spoiled


def by_onnxruntime(spoiled):
    """What it refuses the model with, or ""."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    try:
        session = onnxruntime.InferenceSession(
            spoiled.model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        names = [port.name for port in session.get_inputs()]
        session.run(None, {name: spoiled.feeds[name] for name in names})
    except Exception as error:  # its errors have no base of their own
        return str(error).splitlines()[0]
    return ""


def by_edgecomp(spoiled):
    """Code and text of the error, or two empty strings; "crash" where it is none for people."""
    arrays = {n: a for n, a in spoiled.feeds.items() if isinstance(a, np.ndarray)}
    constants = {n: a for n, a in arrays.items() if n in spoiled.bound}
    specs = {n: InputSpec(n, a.shape) for n, a in arrays.items() if n not in constants}
    signal.alarm(SECONDS)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            model = load_model(spoiled.model, constants=constants, inputs=specs)
            run_passes(model, quantized_passes() if is_quantized(model) else float_passes())
            report = check_model(model, [api.load_target("host")])
    except EdgecompError as error:
        return ("crash" if error.code is Code.INTERNAL else error.code.text), str(error)
    except Exception as error:  # that there is none is what is to be shown
        return "crash", f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)
    if report.possible:
        return "", ""
    problem = report.problems[0].check
    return "impossible", f"{problem.detail}\n  node: {', '.join(problem.nodes)}"


def first_cases():
    """One test of every operator that is one node between tensors."""
    found = {}
    for name in suite.names("node"):
        case = suite.case("node", name)
        node = case.model.graph.node[0]
        if len(case.model.graph.node) > 1 or any(a.HasField("g") for a in node.attribute):
            continue
        if all(isinstance(each, np.ndarray) for each in case.feeds[0]):
            found.setdefault(node.op_type, case)
    return found


def _ended(*_):
    raise TimeoutError(f"no answer in {SECONDS} s")


def _look(case, rows):
    """Send what both say of every spoiled model of an operator."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGALRM, _ended)
    operator = case.model.graph.node[0].op_type
    # What onnxruntime refuses unspoiled says nothing about spoiling.
    known = not by_onnxruntime(Spoiled(case))
    for what, spoiled in spoilings(case):
        ours = by_edgecomp(spoiled)
        rows.send([operator, what, *ours, None])
        rows.send([operator, what, *ours, by_onnxruntime(spoiled) if known else None])
    rows.close()


def look(case):
    """Rows of one operator, from a process of its own."""
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_look, args=(case, send))
    process.start()
    send.close()
    rows = {}
    with contextlib.suppress(EOFError):
        while True:
            row = receive.recv()
            rows[row[1]] = row
    process.join()
    return list(rows.values())


def summary(rows):
    """Lines to print."""
    counts = collections.Counter()
    for operator, what, code, text, theirs in rows:
        counts["spoiled models"] += 1
        counts["refused by edgecomp"] += bool(code)
        counts["refused by onnxruntime"] += bool(theirs)
        if code == "crash":
            yield f"crash: {operator}, {what}: {text}"
        if theirs and not code and "NOT_IMPLEMENTED" not in theirs:
            yield f"only onnxruntime: {operator}, {what}: {theirs[-160:]}"
        if code not in ("", "crash") and "node" not in text:
            yield f"no node: {operator}, {what}: {text.splitlines()[0]}"
    yield ", ".join(f"{count} {name}" for name, count in counts.items())


def main():
    """Spoil, look, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("operators", nargs="*")
    parser.add_argument("--json", type=pathlib.Path)
    arguments = parser.parse_args()
    rows = []
    for operator, case in first_cases().items():
        if not arguments.operators or operator in arguments.operators:
            rows += look(case)
            print(operator, len(rows), file=sys.stderr, flush=True)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(rows, indent=0) + "\n")
    print("\n".join(summary(rows)))


if __name__ == "__main__":
    main()
