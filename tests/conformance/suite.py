"""The ONNX backend tests as models with inputs and expected outputs.

A compiled program has static shapes: what decides a shape has to be known when it is built.
Exporters write such operands (the shape of a Reshape, the axes of a reduction, the sizes of a
Resize) as initializers, while the node tests feed them at run time. ``PARAMETERS`` lists these
operands; they are bound to the test's value at build time.
"""

import contextlib
import dataclasses
import functools
import os
import pathlib
import warnings
import zlib

import numpy as np
import onnx
import onnx.backend.test
import onnx.numpy_helper
import onnx.reference

#: The kind "real" is left out: its weights are ConstantOfShape nodes that other tests cover, and
#: its nine networks take longer than all the rest.
KINDS = ("node", "simple", "pytorch-operator", "pytorch-converted")
#: Tests that share one library.
BATCH = 64
#: One in so many expanded tests is in the batches.
_EXPANDED_SHARE = 4

#: Operator -> its inputs that decide shapes or loop counts.
PARAMETERS = {
    "AffineGrid": (1,),
    "BlackmanWindow": (0,),
    "CenterCropPad": (1,),
    "Col2Im": (1, 2),
    "ConstantOfShape": (0,),
    "CumProd": (1,),
    "CumSum": (1,),
    "DFT": (1, 2),
    "Expand": (1,),
    "HammingWindow": (0,),
    "HannWindow": (0,),
    "Loop": (0, 1),
    "MaxUnpool": (2,),
    "MelWeightMatrix": (0, 1, 2, 3, 4),
    "NonMaxSuppression": (2, 3, 4),
    "OneHot": (1,),
    "Pad": (1, 3),
    "Range": (0, 1, 2),
    "ReduceL1": (1,),
    "ReduceL2": (1,),
    "ReduceLogSum": (1,),
    "ReduceLogSumExp": (1,),
    "ReduceMax": (1,),
    "ReduceMean": (1,),
    "ReduceMin": (1,),
    "ReduceProd": (1,),
    "ReduceSum": (1,),
    "ReduceSumSquare": (1,),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "STFT": (1, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Unsqueeze": (1,),
    "Upsample": (1,),
}


@dataclasses.dataclass
class Case:
    """One test.

    Attributes:
        name: without the device's suffix.
        kind: folder of the suite.
        model: as the suite gives it.
        feeds: per data set, arrays (or what else the suite feeds) in graph input order.
        expected: per data set, results in graph output order.
        bound: names of graph inputs that the build is told.
        rtol, atol: the suite's tolerances.
    """

    name: str
    kind: str
    model: onnx.ModelProto
    feeds: list[list[object]]
    expected: list[list[object]]
    bound: tuple[str, ...]
    rtol: float
    atol: float

    @property
    def operators(self) -> set[str]:
        return {node.op_type for node in self.model.graph.node}


@functools.cache
def _tests(kind: str) -> dict[str, object]:
    from onnx.backend.test.loader import load_model_tests

    # The suite computes its expectations while it is loaded, overflow and division by 0 included.
    with warnings.catch_warnings(), pathlib.Path(os.devnull).open("w") as sink:
        warnings.simplefilter("ignore")
        with contextlib.redirect_stdout(sink):
            return {test.name: test for test in load_model_tests(kind=kind)}


@functools.cache
def names(kind: str) -> tuple[str, ...]:
    """Names of the tests of a kind, in the suite's order."""
    return tuple(_tests(kind))


def batches(kind: str) -> list[tuple[str, ...]]:
    """The tests of a kind in groups that are built together, but for most expanded ones.

    An expanded test is another one of the suite with its operator written in simpler operators,
    which have tests of their own. They take a third of the time; ``run.py`` runs all.
    """
    found = tuple(name for name in names(kind) if _is_in_batch(name))
    return [found[start : start + BATCH] for start in range(0, len(found), BATCH)]


def _is_in_batch(name: str) -> bool:
    return "_expanded" not in name or zlib.crc32(name.encode()) % _EXPANDED_SHARE == 0


def case(kind: str, name: str) -> Case:
    """Load one test."""
    test = _tests(kind)[name]
    if test.model is not None:
        model, data = test.model, test.data_sets
        feeds = [[_array(item) for item in inputs] for inputs, _ in data]
        expected = [[_array(item) for item in outputs] for _, outputs in data]
    else:
        folder = pathlib.Path(test.model_dir)
        model = onnx.load(folder / "model.onnx")
        sets = sorted(folder.glob("test_data_set_*"))
        feeds = [_read(each, "input", model.graph.input) for each in sets]
        expected = [_read(each, "output", model.graph.output) for each in sets]
    bound = _bound(kind, name, model)
    return Case(name, kind, model, feeds, expected, bound, test.rtol, test.atol)


def _bound(kind: str, name: str, model: onnx.ModelProto) -> tuple[str, ...]:
    """Graph inputs that are operands of ``PARAMETERS``; expanded tests have the plain one's."""
    plain = name.split("_expanded")[0]
    graph = model.graph
    if plain != name and plain in _tests(kind):
        graph = _tests(kind)[plain].model.graph
    inputs = {value.name for value in graph.input}
    found = [
        node.input[index]
        for node in graph.node
        for index in PARAMETERS.get(node.op_type, ())
        if index < len(node.input) and node.input[index] in inputs
    ]
    own = {value.name for value in model.graph.input}
    return tuple(each for each in dict.fromkeys(found) if each in own)


def _array(item: object) -> object:
    if isinstance(item, onnx.TensorProto):
        return onnx.numpy_helper.to_array(item)
    return np.asarray(item) if isinstance(item, np.generic) else item


def _read(folder: pathlib.Path, stem: str, values: object) -> list[object]:
    count = len(list(folder.glob(f"{stem}_*.pb")))
    result = []
    for index in range(count):
        content = (folder / f"{stem}_{index}.pb").read_bytes()
        kind = values[index].type.WhichOneof("value")
        if kind == "sequence_type":
            proto = onnx.SequenceProto()
            proto.ParseFromString(content)
            result.append(onnx.numpy_helper.to_list(proto))
        elif kind == "optional_type":
            proto = onnx.OptionalProto()
            proto.ParseFromString(content)
            result.append(onnx.numpy_helper.to_optional(proto))
        else:
            proto = onnx.TensorProto()
            proto.ParseFromString(content)
            result.append(onnx.numpy_helper.to_array(proto))
    return result
