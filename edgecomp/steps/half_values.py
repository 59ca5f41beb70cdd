"""What a GPU's floats of 16 bits do to a model: values they cannot hold, and how far outputs move.

Both are found by running the model, as it is and with every float result rounded to 16 bits. The
kernels of a GPU round less: what is fused into one of them stays float32.
"""

import dataclasses
from collections.abc import Mapping

import ml_dtypes
import numpy as np
import onnx_ir as ir

from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.constants import AnyArray, constant_array, is_constant
from edgecomp.graph.match import is_operator
from edgecomp.graph.run import Runner
from edgecomp.plan.values import Array

#: Of the largest number of a type: values that come nearer to it stay float32.
_ROOM = 0.5
#: Allowed, of the difference that rounding everything makes: samples and orders of sums differ.
_MARGIN = 4.0
#: Operators whose kernels may add up products in the type.
_PRODUCTS = ("Conv", "Gemm", "MatMul")
_TYPES = {"float16": ir.DataType.FLOAT16, "bfloat16": ir.DataType.BFLOAT16}


@dataclasses.dataclass(frozen=True)
class HalfValues:
    """What was found.

    Attributes:
        wide: names of values that stay float32: larger than the type in a golden vector.
        spreads: for each golden vector, output -> difference that is allowed.
    """

    wide: frozenset[str]
    spreads: list[dict[str, float]]


def half_values(
    model: ir.Model,
    golden: list[tuple[dict[str, Array], dict[str, Array]]],
    dtype: str,
    sums: int = 0,
) -> HalfValues:
    """Run a model on its golden vectors.

    Args:
        model: float, static; not changed.
        golden: inputs and expected outputs.
        dtype: float16 or bfloat16.
        sums: products that the device adds up in the type.

    Raises:
        EdgecompError: NUMERIC_MISMATCH where 16 bits do not give finite outputs that are finite
            in float32.
    """
    wide = _wide(model, [feeds for feeds, _ in golden], dtype, sums)
    rounded = model.clone()
    for node in list(rounded.graph):
        for value in node.outputs:
            if _is_float(value) and not is_constant(value) and value.name not in wide:
                _round(node, value, dtype)
    runner = Runner(rounded)
    return HalfValues(wide, [_spread(runner(feeds), expected) for feeds, expected in golden])


def _round(node: ir.Node, value: ir.Value, dtype: str) -> None:
    users = tuple(value.uses())
    narrow = ir.Node("", "Cast", [value], [ir.AttrInt64("to", _TYPES[dtype])])
    back = ir.Node("", "Cast", [narrow.outputs[0]], [ir.AttrInt64("to", ir.DataType.FLOAT)])
    graph = node.graph
    assert graph is not None
    graph.insert_after(node, (narrow, back))
    for user, index in users:
        user.replace_input_with(index, back.outputs[0])


def _is_float(value: ir.Value) -> bool:
    return value.dtype == ir.DataType.FLOAT


def _wide(
    model: ir.Model, samples: list[dict[str, Array]], dtype: str, sums: int
) -> frozenset[str]:
    """Values whose magnitudes in the samples, or whose products', leave the type no room."""
    end = _ROOM * float(ml_dtypes.finfo(dtype).max)  # type: ignore[no-untyped-call]
    largest: dict[str, float] = {}
    runner = Runner(model, "*")
    for feeds in samples:
        for name, array in runner(feeds).items():
            if array.dtype == np.float32:
                largest[name] = max(largest.get(name, 0.0), _magnitude(array))
    found = {name for name, size in largest.items() if size > end}
    for node in model.graph:
        if sums and is_operator(node, *_PRODUCTS):
            x, weight = node.inputs[:2]
            assert x is not None
            assert weight is not None
            constant = constant_array(weight)
            size = largest.get(weight.name or "", 0.0)
            size = size if constant is None else _magnitude(constant)
            if sums * size * largest.get(x.name or "", 0.0) > end:
                found.add(x.name or "")
    return frozenset(found)


def _magnitude(array: AnyArray) -> float:
    with np.errstate(invalid="ignore"):
        return float(np.nanmax(np.abs(array), initial=0.0))


def _spread(found: Mapping[str, AnyArray], expected: Mapping[str, Array]) -> dict[str, float]:
    spread = {}
    for name, array in expected.items():
        if "float" not in array.dtype.name:
            continue
        got = found[name].astype(np.float64)
        want = array.astype(np.float64)
        if not np.isfinite(got[np.isfinite(want)]).all():
            raise EdgecompError(
                Code.NUMERIC_MISMATCH,
                f"output '{name}' is not finite with floats of 16 bits",
                node=name,
                hint="build with --precision fp32, or bf16, which reaches as far",
            )
        both = np.isfinite(want)
        largest = float(np.abs(got - want)[both].max(initial=0.0))
        if largest:
            spread[name] = _MARGIN * largest
    return spread
