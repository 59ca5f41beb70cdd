"""Run a model with onnxruntime: the independent reference of float models.

Models with values of element types that its CPU kernels do not compute with, or that it does not
take from numpy, are run by onnx's reference evaluator, which is slower.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx.reference
import onnx_ir as ir

from edgecomp.buffers import forget, spooled
from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.constants import AnyArray
from edgecomp.graph.skeleton import skeleton_proto
from edgecomp.onnxruntime_library import load_onnxruntime

#: Types of computed values that need the reference evaluator.
_UNCOMMON = frozenset(
    {
        ir.DataType.BFLOAT16,
        ir.DataType.FLOAT8E4M3FN,
        ir.DataType.FLOAT8E4M3FNUZ,
        ir.DataType.FLOAT8E5M2,
        ir.DataType.FLOAT8E5M2FNUZ,
        ir.DataType.FLOAT8E8M0,
        ir.DataType.FLOAT4E2M1,
        ir.DataType.INT4,
        ir.DataType.UINT4,
        ir.DataType.INT2,
        ir.DataType.UINT2,
    }
)

#: A model with more weights than this does not get them in its protobuf, of which there would be
#: three copies: they are fed as inputs, from where they are. onnxruntime then cannot bring them
#: into an order of its own before it starts, which is worth it for many runs of a small model.
_EMBEDDED_BYTES = 48 << 20
_EMBEDDED_BYTES_OF_MANY_RUNS = 1 << 30
_FED_BYTES = 1 << 16
#: Types of weights that can be fed.
_FED = frozenset(
    ["float32", "float64", "float16", "int8", "uint8", "int16", "int32", "int64", "bool"]
)


class Runner:
    """An onnxruntime session over a model, for one or many feeds.

    Args:
        model: the model, copied; later changes do not show.
        values: names of values to return instead of the graph outputs; ``"*"`` for every
            float, integer or boolean value that a node of the main graph computes.
        optimize: let onnxruntime rewrite the graph; off, so that each operator is computed as
            the file says.
        threads: of onnxruntime, 0 for its own choice.
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
        self._weights: dict[str, AnyArray] = {}
        if _is_uncommon(model):
            self._session = _Evaluator(model, self.names)
            return
        most = _EMBEDDED_BYTES if once else _EMBEDDED_BYTES_OF_MANY_RUNS
        if _weight_bytes(model) > most:
            self._weights = _fed_weights(model)
        self._session = _session(
            model, self.names, set(self._weights), optimize=optimize, threads=threads
        )

    def __call__(self, feeds: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """Results by name, for one feed of every graph input."""
        try:
            outputs = self._session.run(self.names, {**feeds, **self._weights})
        except EdgecompError:
            raise
        except Exception as error:  # onnxruntime's own exception types share no public base
            raise _refused(error, Code.MODEL_INVALID, "fails when it runs") from error
        for array in self._weights.values():
            forget(array)
        return dict(zip(self.names, outputs, strict=True))


def _is_uncommon(model: ir.Model) -> bool:
    values = [*model.graph.inputs, *(v for node in model.graph for v in node.outputs)]
    return any(value.dtype in _UNCOMMON for value in values)


class _Evaluator:
    """onnx's reference evaluator behind the one method of a session that is used here."""

    def __init__(self, model: ir.Model, names: Sequence[str]) -> None:
        proto = _with_outputs(ir.serde.serialize_model(model), names)
        self._evaluator = onnx.reference.ReferenceEvaluator(proto)

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


def run_model(
    model: ir.Model,
    feeds: Mapping[str, AnyArray],
    values: Iterable[str] | str | None = None,
) -> dict[str, AnyArray]:
    """Run once; see ``Runner``."""
    return Runner(model, values, once=True)(feeds)


def random_feeds(model: ir.Model, seed: int = 0) -> dict[str, AnyArray]:
    """Seeded inputs of the right shapes and dtypes: standard normal floats, small integers.

    Integers are 0 or 1: valid as indices into any table, as masks and as lengths.
    """
    rng = np.random.default_rng(seed)
    feeds: dict[str, AnyArray] = {}
    for value in model.graph.inputs:
        assert value.shape is not None
        assert value.dtype is not None
        shape, dtype = value.shape.numpy(), value.dtype.numpy()
        if np.issubdtype(dtype, np.integer) or dtype == np.bool_:
            feeds[value.name or ""] = rng.integers(0, 2, shape).astype(dtype)
        else:
            feeds[value.name or ""] = rng.standard_normal(shape).astype(dtype)
    return feeds


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
    model: ir.Model,
    names: Sequence[str],
    fed: Collection[str],
    *,
    optimize: bool,
    threads: int,
) -> Any:
    onnxruntime = load_onnxruntime()
    options = onnxruntime.SessionOptions()
    # Fatal only: what onnxruntime refuses is raised, and said by who catches it.
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    proto = skeleton_proto(model, fed) if fed else ir.serde.serialize_model(model)
    try:
        return onnxruntime.InferenceSession(
            _with_outputs(proto, names).SerializeToString(), options, ["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's own exception types share no public base
        raise _refused(error, Code.OPERATOR_UNSUPPORTED, "cannot be run") from error


def _fed_weights(model: ir.Model) -> dict[str, AnyArray]:
    """Weights that numpy knows and that are large enough to matter."""
    fed = {}
    for name, value in model.graph.initializers.items():
        tensor = value.const_value
        if (
            tensor is None
            or tensor.nbytes < _FED_BYTES
            or tensor.dtype.numpy().name not in _FED
        ):
            continue
        array = tensor.numpy()
        if not array.flags.c_contiguous:  # onnxruntime would copy all of them at once
            array = _row_major(array)
        fed[name] = array
    return fed


def _row_major(array: AnyArray) -> AnyArray:
    moved = spooled(array)
    forget(array)
    return moved


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


def _weight_bytes(model: ir.Model) -> int:
    return sum(
        value.const_value.nbytes
        for value in model.graph.initializers.values()
        if value.const_value is not None
    )


def _with_outputs(proto: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    given = {value.name for value in proto.graph.output}
    known = {value.name: value for value in proto.graph.value_info}
    for name in names:
        if name not in given:
            proto.graph.output.append(known.get(name, onnx.ValueInfoProto(name=name)))
    return proto
