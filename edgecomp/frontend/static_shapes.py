"""Free dimensions set by the user, so that the whole graph has known shapes."""

from collections.abc import Mapping

import onnx_ir as ir

from edgecomp.errors import Code, EdgecompError
from edgecomp.frontend.graph_inputs import named_inputs
from edgecomp.frontend.input_spec import InputSpec


def set_input_shapes(model: ir.Model, inputs: Mapping[str, InputSpec]) -> None:
    """Fix the shape of every graph input.

    A dimension name that one input fixes holds for the others too (``batch`` set once).

    Raises:
        EdgecompError: USAGE for an unknown input, SHAPE_CONFLICT where a given extent
            contradicts the model, DIMENSION_FREE listing what is still open.
    """
    _free_impossible_extents(model)
    by_name = named_inputs(model, inputs, "--input")
    known: dict[str, tuple[int, str]] = {}
    for name, spec in inputs.items():
        _apply(by_name[name], spec, known)
    for value in model.graph.inputs:
        _fill_by_name(value, known)
    _refuse_free(model)


def has_free_dimensions(model: ir.Model) -> bool:
    """Whether an input has a dimension whose size is not the model's to say."""
    return any(
        value.shape is None
        or any(not isinstance(dim, int) or _is_free(dim, 1) for dim in value.shape)
        for value in model.graph.inputs
    )


def _free_impossible_extents(model: ir.Model) -> None:
    """Some exporters write -1 (for inputs also 0), or "?" as a name, for what is free."""
    computed = [value for node in model.graph for value in node.outputs]
    for values, least in ((model.graph.inputs, 1), (computed, 0)):
        for value in values:
            if value.shape is not None and any(_is_free(dim, least) for dim in value.shape):
                value.shape = ir.Shape(
                    [None if _is_free(dim, least) else dim for dim in value.shape]
                )


def _is_free(dim: int | ir.SymbolicDim, least: int) -> bool:
    """Whether a dimension has neither a possible extent nor a name that others may share."""
    return dim < least if isinstance(dim, int) else dim.value in (None, "", "?")


def _apply(value: ir.Value, spec: InputSpec, known: dict[str, tuple[int, str]]) -> None:
    declared = value.shape
    if declared is not None and len(declared) != len(spec.shape):
        raise _conflict(value, spec, f"it has {len(declared)} dimensions")
    for extent, given in zip(declared or (), spec.extents, strict=False):
        if isinstance(extent, int):
            if extent != given:
                raise _conflict(value, spec, f"its shape is {declared}")
            continue
        if extent.value is None:
            continue
        before = known.setdefault(extent.value, (given, spec.name))
        if before[0] != given:
            raise _conflict(
                value,
                spec,
                f"dimension '{extent.value}' is {before[0]} by input '{before[1]}'",
            )
    if spec.dtype and value.dtype is not None and value.dtype.numpy().name != spec.dtype:
        raise _conflict(value, spec, f"its dtype is {value.dtype.numpy().name}")
    value.shape = ir.Shape(spec.extents)


def _fill_by_name(value: ir.Value, known: dict[str, tuple[int, str]]) -> None:
    if value.shape is None:
        return
    value.shape = ir.Shape(
        [
            extent
            if isinstance(extent, int) or extent.value not in known
            else known[extent.value][0]
            for extent in value.shape
        ]
    )


def _refuse_free(model: ir.Model) -> None:
    free = [
        value
        for value in model.graph.inputs
        if value.shape is None or not value.shape.is_static()
    ]
    if not free:
        return
    shown = ", ".join(f"{value.name} {value.shape or 'of unknown rank'}" for value in free)
    raise EdgecompError(
        Code.DIMENSION_FREE,
        f"free dimensions of inputs: {shown}",
        node=free[0].name or "",
        hint="give "
        + " ".join(f"--input {_example(value)}" for value in free)
        + f", or bounds as in {_bounded_example(free[0])} for a bundle of every size in them",
    )


def _example(value: ir.Value) -> str:
    if value.shape is None:
        return f"{value.name}:1x3x224x224"
    dims = [str(extent) if isinstance(extent, int) else "1" for extent in value.shape]
    return f"{value.name}:{'x'.join(dims)}"


def _bounded_example(value: ir.Value) -> str:
    if value.shape is None:
        return f"{value.name}:1x3x[32..640]x[32..640]"
    dims = [str(extent) if isinstance(extent, int) else "[1..8]" for extent in value.shape]
    return f"{value.name}:{'x'.join(dims)}"


def _conflict(value: ir.Value, spec: InputSpec, why: str) -> EdgecompError:
    return EdgecompError(
        Code.SHAPE_CONFLICT,
        f"--input {spec.text} contradicts the model: {why}",
        node=value.name or "",
        hint="give extents for free dimensions only as the model allows them, or export the "
        "model with the wanted shape",
    )
