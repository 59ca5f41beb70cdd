"""Bounded dimensions of inputs: which symbol each one is, and its size in one reading.

A model with dynamic dimensions is read at several sizes (``lower/generalize.py`` says why). What
decides the sizes is a table of symbols. Dimensions to which the model gives one name are one
symbol, whether they are bounded for one input or for all of them.
"""

import dataclasses
import json
from collections.abc import Mapping

import onnx_ir as ir

from edgecomp.errors import Code, EdgecompError
from edgecomp.frontend.graph_inputs import named_inputs
from edgecomp.frontend.input_spec import Bounds, InputSpec

#: Where a model that was read at some sizes keeps what they are, as JSON.
PROPERTY = "edgecomp.dynamic"


@dataclasses.dataclass(frozen=True)
class DynamicInputs:
    """Bounded dimensions of a model.

    Attributes:
        bounds: of each symbol, by name.
        shapes: input -> its dimensions, numbers or names of symbols; only inputs that have any.
    """

    bounds: dict[str, Bounds]
    shapes: dict[str, tuple[int | str, ...]]


def choose_sizes(
    model: ir.Model, inputs: Mapping[str, InputSpec], sizes: Mapping[str, int] | None
) -> dict[str, InputSpec]:
    """The inputs with a size for every bounded dimension; notes in the model what they are.

    Args:
        model: as declared by its file; its metadata is changed.
        inputs: by name, as the user gave them.
        sizes: of symbols, the largest where None.

    Raises:
        EdgecompError: USAGE for an unknown input or bounds that contradict each other.
    """
    bounded = {name: spec for name, spec in inputs.items() if spec.is_bounded}
    if not bounded:
        return dict(inputs)
    by_name = named_inputs(model, inputs, "--input")
    found = DynamicInputs({}, {})
    for name, spec in bounded.items():
        declared = by_name[name].shape
        names = [_declared_name(declared, d) for d in range(len(spec.shape))]
        found.shapes[name] = tuple(
            extent if isinstance(extent, int) else _symbol(found, spec, d, names[d])
            for d, extent in enumerate(spec.shape)
        )
    _follow_names(model, inputs, found)
    chosen = {name: bounds.maximum for name, bounds in found.bounds.items()} | dict(
        sizes or {}
    )
    model.metadata_props[PROPERTY] = json.dumps(
        {
            "symbols": {n: [b.minimum, b.maximum, b.step] for n, b in found.bounds.items()},
            "inputs": found.shapes,
        },
        sort_keys=True,
    )
    static = dict(inputs)
    for name, shape in found.shapes.items():
        extents = tuple(e if isinstance(e, int) else chosen[e] for e in shape)
        dtype = inputs[name].dtype if name in inputs else ""
        static[name] = InputSpec(name, extents, dtype)
    return static


def example_shapes(
    inputs: Mapping[str, InputSpec], sizes: Mapping[str, int] | None
) -> dict[str, InputSpec]:
    """The inputs of a module that is traced, where no model names dimensions yet."""
    given = sizes or {}
    found = {}
    for name, spec in inputs.items():
        extents = tuple(
            extent
            if isinstance(extent, int)
            else given.get(extent.name or f"{name}_{d}", extent.maximum)
            for d, extent in enumerate(spec.shape)
        )
        found[name] = InputSpec(name, extents, spec.dtype)
    return found


def dynamic_inputs(model: ir.Model) -> DynamicInputs | None:
    """The bounded dimensions of a model that was read with some, else None."""
    text = model.metadata_props.get(PROPERTY)
    if text is None:
        return None
    content = json.loads(text)
    bounds = {
        name: Bounds(low, high, step=step)
        for name, (low, high, step) in content["symbols"].items()
    }
    return DynamicInputs(bounds, {n: tuple(shape) for n, shape in content["inputs"].items()})


def _declared_name(declared: ir.Shape | None, d: int) -> str:
    """The name that the model gives a dimension, "" where it gives none."""
    if declared is None or d >= len(declared):
        return ""
    extent = declared[d]
    return "" if isinstance(extent, int) or extent.value in (None, "?") else str(extent.value)


def _symbol(found: DynamicInputs, spec: InputSpec, d: int, declared: str) -> str:
    """Name of the symbol of a bounded dimension."""
    bounds = spec.shape[d]
    assert isinstance(bounds, Bounds)
    name = declared or bounds.name or f"{spec.name}_{d}"
    plain = dataclasses.replace(bounds, name="")
    if found.bounds.setdefault(name, plain) != plain:
        raise EdgecompError(
            Code.USAGE,
            f"--input {spec.text}: dimension '{name}' is {found.bounds[name].text} "
            "in another place",
            hint="give the same bounds wherever the dimension has this name",
        )
    return name


def _follow_names(
    model: ir.Model, inputs: Mapping[str, InputSpec], found: DynamicInputs
) -> None:
    """Inputs without a shape of their own whose dimensions have the name of a symbol."""
    for value in model.graph.inputs:
        name = value.name or ""
        if name in inputs or value.shape is None:
            continue
        names = [_declared_name(value.shape, d) for d in range(len(value.shape))]
        if any(each in found.bounds for each in names):
            extents = [
                extent if isinstance(extent, int) else each
                for extent, each in zip(value.shape, names, strict=True)
            ]
            if all(isinstance(e, int) or e in found.bounds for e in extents):
                found.shapes[name] = tuple(extents)
