"""Run a model with onnxruntime: the independent reference of float models.

Models with values of element types that its CPU kernels do not compute with, or that it does not
take from numpy, are run by onnx's reference evaluator, which is slower.
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx.reference
import onnx_ir as ir

from edgecomp.buffers import forget, spooled
from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.bodies import IMPOSSIBLE_KEY
from edgecomp.graph.constants import AnyArray, is_constant, scalar
from edgecomp.graph.counts import open_names, without_counted_sizes
from edgecomp.graph.element_types import UNCOMMON_TYPES
from edgecomp.graph.reference_operators import CORRECTED
from edgecomp.onnxruntime_library import load_onnxruntime

#: Weights beyond this are handed to onnxruntime where they lie, whatever the model's size.
_EMBEDDED_BYTES = 1 << 10
#: onnxruntime copies what is handed to it. A model with more weights than this that runs once is
#: fed with them as with its inputs, which copies nothing.
_HANDED_BYTES = 48 << 20
#: A weight in another order than ONNX's is copied in memory up to this, else into a file.
_COPIED_BYTES = 1 << 20
#: Kinds of numpy's own numbers; onnxruntime takes no others from numpy.
_PLAIN_KINDS = "biuf"
#: Operators behind which a value is still the same number.
_VIEWS = frozenset({"Cast", "Gather", "Identity", "Reshape", "Squeeze", "Unsqueeze"})


class Runner:
    """An onnxruntime session over a model, for one or many feeds.

    Args:
        model: the model, copied; later changes do not show.
        values: names of values to return instead of the graph outputs; ``"*"`` for every
            float, integer or boolean value that a node of the main graph computes.
        optimize: let onnxruntime rewrite the graph; off, so that each operator is computed as
            the file says.
        threads: of onnxruntime, 0 for as many as there are cores for this process.
        once: whether it runs for one feed only: then less memory is worth more than speed.
    """

    def __init__(
        self,
        model: ir.Model,
        values: Iterable[str] | str | None = None,
        *,
        optimize: bool = False,
        threads: int = 0,
        once: bool = False,
    ) -> None:
        self.names = _wanted(model, values)
        self._session: Any
        self._fed: dict[str, AnyArray] = {}
        if _is_uncommon(model):
            self._session = _Evaluator(model, self.names)
            return
        light, arrays = without_weights(model)
        if once and sum(array.nbytes for array in arrays.values()) > _HANDED_BYTES:
            self._fed, arrays = arrays, {}
        proto = without_counted_sizes(ir.serde.serialize_model(light), open_names(model))
        proto = _with_outputs(proto, self.names)
        _feed_weights(proto, self._fed)
        self._session, self._weights = _session(
            proto, arrays, optimize=optimize, threads=threads or _usable_threads()
        )

    def __call__(self, feeds: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """Results by name, for one feed of every graph input."""
        try:
            outputs = self._session.run(self.names, {**feeds, **self._fed})
        except EdgecompError:
            raise
        except Exception as error:  # onnxruntime's own exception types share no public base
            raise _refused(error, Code.MODEL_INVALID, "fails when it runs") from error
        for array in self._fed.values():
            forget(array)
        return dict(zip(self.names, outputs, strict=True))


def _is_uncommon(model: ir.Model) -> bool:
    values = [*model.graph.inputs, *(v for node in model.graph for v in node.outputs)]
    return any(value.dtype in UNCOMMON_TYPES for value in values)


class _Evaluator:
    """onnx's reference evaluator behind the one method of a session that is used here."""

    def __init__(self, model: ir.Model, names: Sequence[str]) -> None:
        proto = without_counted_sizes(ir.serde.serialize_model(model), open_names(model))
        proto = _with_outputs(proto, names)
        self._evaluator = onnx.reference.ReferenceEvaluator(proto, new_ops=CORRECTED)

    def run(self, names: Sequence[str], feeds: dict[str, AnyArray]) -> list[AnyArray]:
        try:
            with np.errstate(all="ignore"):  # inf and nan are results here, not accidents
                outputs: Any = self._evaluator.run(list(names), feeds)
        except Exception as error:  # the evaluator raises whatever its numpy code raises
            raise EdgecompError(
                Code.OPERATOR_UNSUPPORTED,
                "the model cannot be run: onnx's reference evaluator, the reference of models "
                f"in uncommon element types, says: {error}",
                hint="export it in float32 or float16",
            ) from error
        return [np.asarray(output) for output in outputs]


def _usable_threads() -> int:
    """0 for onnxruntime's own choice, which counts cores that this process may not use.

    On these its threads would wait for each other: two on one core take twice as long as one.
    """
    if not hasattr(os, "sched_getaffinity"):
        return 0
    usable = len(os.sched_getaffinity(0))
    return usable if usable < (os.cpu_count() or usable) else 0


def run_model(
    model: ir.Model,
    feeds: Mapping[str, AnyArray],
    values: Iterable[str] | str | None = None,
) -> dict[str, AnyArray]:
    """Run once; see ``Runner``."""
    return Runner(model, values, once=True)(feeds)


def random_feeds(model: ir.Model, seed: int = 0) -> dict[str, AnyArray]:
    """Seeded inputs of the right shapes and dtypes: standard normal floats, small integers.

    Integers are 0 or 1: valid as indices into any table, as masks and as lengths. Those that only
    choose rows of constant tables choose among all rows, as a model is not used with two words
    alone. One that the model compares with a constant to choose a branch (a sampling rate) is that
    constant, unless the branch cannot run.
    """
    rng = np.random.default_rng(seed)
    feeds: dict[str, AnyArray] = {}
    choices = _choices(model)
    for value in model.graph.inputs:
        assert value.shape is not None
        assert value.dtype is not None
        shape, dtype = value.shape.numpy(), value.dtype.numpy()
        if np.issubdtype(dtype, np.integer) or dtype == np.bool_:
            most = _rows_chosen(value) or 2
            feeds[value.name or ""] = rng.integers(0, most, shape).astype(dtype)
            if value in choices:
                feeds[value.name or ""] = np.full(shape, choices[value], dtype)
        else:
            feeds[value.name or ""] = rng.standard_normal(shape).astype(dtype)
    return feeds


def _rows_chosen(value: ir.Value) -> int | None:
    """Rows of the smallest constant table that an integer indexes; None if others read it too."""
    if value.dtype == ir.DataType.BOOL or value.is_graph_output():
        return None
    rows = [_rows_read(use.node, use.idx) for use in value.uses()]
    known = [count for count in rows if count is not None]
    return min(known) if known and len(known) == len(rows) else None


def _rows_read(node: ir.Node, index: int) -> int | None:
    if node.domain != "":
        return None
    if node.op_type == "Gather" and index == 1 and node.attributes.get_int("axis", 0) == 0:
        table = node.inputs[0]
        shape = table.shape if table is not None and is_constant(table) else None
        rows = shape[0] if shape else None
        return rows if isinstance(rows, int) and rows > 0 else None
    bounds = node.op_type in ("Max", "Min") and all(
        other is not None and (number == index or is_constant(other))
        for number, other in enumerate(node.inputs)
    )
    if bounds or (node.op_type in _VIEWS and index == 0 and node.op_type != "Gather"):
        return _rows_chosen(node.outputs[0])
    return None


def _choices(model: ir.Model) -> dict[ir.Value, int]:
    """Inputs that decide about an If by ``input == constant``, with the constant."""
    found: dict[ir.Value, int] = {}
    for node in model.graph:
        if node.op_type != "If" or node.metadata_props.get(IMPOSSIBLE_KEY) == "then_branch":
            continue
        test = node.inputs[0].producer() if node.inputs[0] is not None else None
        if test is None or test.op_type != "Equal":
            continue
        for value, other in (test.inputs, reversed(test.inputs)):
            wanted = scalar(other)
            while value is not None and (maker := value.producer()) is not None:
                if maker.op_type not in _VIEWS:
                    break
                value = maker.inputs[0]
            if wanted is not None and value is not None and value.is_graph_input():
                found[value] = int(wanted)
    return found


def _wanted(model: ir.Model, values: Iterable[str] | str | None) -> list[str]:
    if values is None:
        return [value.name or "" for value in model.graph.outputs]
    if values != "*":
        return list(values)
    return [
        value.name
        for node in model.graph
        for value in node.outputs
        if value.name and value.dtype is not None and isinstance(value.type, ir.TensorType)
    ]


def _session(
    proto: onnx.ModelProto,
    arrays: Mapping[str, AnyArray],
    *,
    optimize: bool,
    threads: int,
) -> tuple[Any, Any]:
    """A session, and the weights that have to live as long as it does."""
    onnxruntime = load_onnxruntime()
    options = onnxruntime.SessionOptions()
    # Fatal only: what onnxruntime refuses is raised, and said by who catches it.
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    providers = ["CPUExecutionProvider"]
    try:
        weights = {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(array)
            for name, array in arrays.items()
        }
        options.add_external_initializers(list(weights), list(weights.values()))
        session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers)
    except Exception as error:  # onnxruntime's own exception types share no public base
        raise _refused(error, Code.OPERATOR_UNSUPPORTED, "cannot be run") from error
    return session, (arrays, weights)


def _refused(error: Exception, code: Code, what: str) -> EdgecompError:
    """The reason of onnxruntime without its status numbers and the paths of its sources."""
    text = " ".join(str(error).split())
    node = re.search(r"Name: ?'([^']*)'|node with name '([^']*)'", text)
    for mark in ("Status Message: ", "Exception during initialization: "):
        text = text.rpartition(mark)[2]
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text)
    text = re.sub(r"^/\S+:\d+ .*?\) (?:\[with [^\]]*\] )?", "", text)
    return EdgecompError(
        code,
        f"the model {what}: onnxruntime, the reference of float models, says: {text}",
        node=next((name for name in node.groups() if name), "") if node else "",
        hint="see whether the model runs in onnxruntime; if not, export it again",
    )


def without_weights(model: ir.Model) -> tuple[ir.Model, dict[str, AnyArray]]:
    """A copy whose large weights are said to lie in a file, and these weights.

    Written into the copy, they would be in memory five times before it runs.
    """
    light = model.clone()
    arrays: dict[str, AnyArray] = {}
    for name, value in light.graph.initializers.items():
        tensor = value.const_value
        if tensor is None or tensor.nbytes <= _EMBEDDED_BYTES:
            continue
        if not value.uses():
            continue  # onnxruntime drops it before it looks for its contents
        array = tensor.numpy()
        if array.dtype.kind not in _PLAIN_KINDS or np.dtype(array.dtype.type).isbuiltin != 1:
            continue  # numpy's own: onnxruntime takes no others, of which some say that they are f
        if array.dtype != tensor.dtype.numpy():
            continue
        arrays[name] = _row_major(array)
        value.const_value = ir.ExternalTensor(
            "weights", 0, tensor.nbytes, tensor.dtype, shape=ir.Shape(array.shape), name=name
        )
    return light, arrays


def _row_major(array: AnyArray) -> AnyArray:
    if array.flags.c_contiguous or array.nbytes <= _COPIED_BYTES:
        return np.ascontiguousarray(array)
    moved = spooled(array)
    forget(array)
    return moved


def _feed_weights(proto: onnx.ModelProto, fed: Mapping[str, AnyArray]) -> None:
    """Make inputs of initializers."""
    if not fed:
        return
    kept = [tensor for tensor in proto.graph.initializer if tensor.name not in fed]
    for tensor in proto.graph.initializer:
        if tensor.name in fed:
            proto.graph.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            )
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(kept)


def _with_outputs(proto: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    given = {value.name for value in proto.graph.output}
    known = {value.name: value for value in proto.graph.value_info}
    for name in names:
        if name not in given:
            proto.graph.output.append(known.get(name, onnx.ValueInfoProto(name=name)))
    return proto
