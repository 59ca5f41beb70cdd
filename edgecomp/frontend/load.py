"""The door: any kind of source to one kind of model, checked, with all shapes known."""

import dataclasses
import logging
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes.common import InlinePass

from edgecomp.errors import Code, EdgecompError
from edgecomp.frontend.bind_inputs import bind_inputs
from edgecomp.frontend.bound_spec import require_used
from edgecomp.frontend.constant_spec import ConstantSpec
from edgecomp.frontend.dynamic_dimensions import choose_sizes, example_shapes
from edgecomp.frontend.entry import call_entry, is_entry
from edgecomp.frontend.input_spec import InputSpec
from edgecomp.frontend.node_rules import check_nodes
from edgecomp.frontend.onnx_file import check_proto, file_exists, read_onnx, to_ir
from edgecomp.frontend.opset import (
    INTERNAL_OPSET,
    convert_opset,
    is_renumbered,
    standard_version,
)
from edgecomp.frontend.static_shapes import has_free_dimensions, set_input_shapes
from edgecomp.frontend.torch_export import (
    Traced,
    compare_with_eager,
    is_torch_object,
    load_pt2,
    trace,
)
from edgecomp.graph.compare import relative_difference
from edgecomp.graph.constants import AnyArray
from edgecomp.graph.counts import CountRequest, counted_dimensions
from edgecomp.graph.edit import remove_unused
from edgecomp.graph.example import set_example_feeds
from edgecomp.graph.fold import infer_and_fold
from edgecomp.graph.loop_form import may_not_end
from edgecomp.graph.microsoft.definitions import adopt_misplaced
from edgecomp.graph.names import name_everything
from edgecomp.graph.run import random_feeds, run_model
from edgecomp.graph.skeleton import skeleton_proto
from edgecomp.graph.source import normalize_sources
from edgecomp.graph.verify import verify

logger = logging.getLogger(__name__)

# A conversion between operator sets must not change numbers beyond reassociation.
_CONVERSION_TOLERANCE = 1e-5
#: Versions of the file's form that a model can have from here on. 14 adds types of 6 bits alone,
#: which nothing here computes with, and onnxruntime 1.31 does not read it.
_OLDEST_IR, _NEWEST_IR = 10, 13


@dataclasses.dataclass(frozen=True)
class _Source:
    """What a source gave before the common steps."""

    model: ir.Model
    traced: Traced | None = None
    path: str = ""


def load_model(
    source: Any,
    *,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    inputs: Mapping[str, InputSpec] | None = None,
    constants: Mapping[str, AnyArray | ConstantSpec] | None = None,
    dynamic_shapes: Any = None,
    opset: int | None = None,
    static: bool = True,
    sizes: Mapping[str, int] | None = None,
    bounds: Mapping[str, tuple[int, int]] | None = None,
) -> ir.Model:
    """Read or trace a model.

    Args:
        source: a torch module, a torch ExportedProgram, an onnx or onnx_ir model, or a path:
            ``.onnx``, ``.pt2``, ``file.py:function`` or ``package.module:function``.
        args: example inputs of a torch module.
        kwargs: keyword example inputs.
        inputs: shapes of graph inputs by name; sets free dimensions, and makes example inputs
            for a module that has none, in the order of ``forward``.
        constants: graph inputs that are fixed at build time (a sampling rate, a target size),
            with their contents; the built model has these inputs no longer.
        dynamic_shapes: as ``torch.export`` takes them.
        opset: operator set that models below it are brought to; 21 where None.
        static: whether shapes that depend on the data are refused. Shapes of inputs are known
            in any case.
        sizes: at which bounded dimensions of the inputs are read, by the symbol's name; the
            largest where not given. ``dynamic_dimensions.dynamic_inputs`` tells of them. The
            same for dimensions that the data decides (``graph.counts.counted_dimensions``).
        bounds: of dimensions that the data decides, by name; those that follow from the shapes
            where not given.

    Returns:
        A model in which functions are inlined, decided branches taken, shape arithmetic
        folded, every shape known, every node read by something, named and carrying its source
        line.

    Raises:
        EdgecompError: see the modules of this package; nothing else for bad input.
    """
    inputs = inputs or {}
    version = opset or INTERNAL_OPSET
    if version not in range(INTERNAL_OPSET, 27):
        raise EdgecompError(
            Code.OPSET_UNSUPPORTED,
            f"opset {version} cannot be asked for",
            hint=f"{INTERNAL_OPSET} to 26; older models are converted by themselves",
        )
    examples = example_shapes(inputs, sizes)
    bounded = [name for name, spec in inputs.items() if spec.is_bounded]
    given = _open(source, args, kwargs, examples, dynamic_shapes, version, bounded)
    try:
        counts = CountRequest(bounds or {}, sizes or {})
        return _prepare(given, inputs, constants or {}, version, counts, static=static)
    except EdgecompError as error:
        error.path = error.path or given.path
        raise


def _open(
    source: Any,
    args: Sequence[Any] | None,
    kwargs: Mapping[str, Any] | None,
    inputs: Mapping[str, InputSpec],
    dynamic_shapes: Any,
    opset: int,
    bounded: Sequence[str] = (),
) -> _Source:
    path = ""
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        file = pathlib.Path(path)
        if is_entry(path) and not file_exists(file):
            source, entry_args, entry_kwargs = call_entry(path)
            if args is None and kwargs is None:
                args, kwargs = entry_args, entry_kwargs
            if not is_torch_object(source):
                raise EdgecompError(
                    Code.ENTRY_INVALID,
                    f"'{path}' returned {type(source).__name__} as first value, not a module",
                    hint="the function returns (torch.nn.Module, example inputs)",
                )
        elif file.suffix == ".pt2" and file_exists(file) and file.is_file():
            source = load_pt2(file)
        else:
            return _Source(read_onnx(file), path=path)
    if isinstance(source, ir.Model):
        source = ir.to_proto(source)
    if isinstance(source, onnx.ModelProto):
        copy = onnx.ModelProto()
        copy.CopyFrom(source)
        check_proto(copy)
        return _Source(to_ir(copy), path=path)
    if not is_torch_object(source):
        raise EdgecompError(
            Code.USAGE,
            f"{type(source).__name__} is no model",
            hint="give a torch module, an onnx model or a path",
        )
    traced = trace(
        source,
        args or (),
        kwargs or {},
        inputs=inputs,
        dynamic_shapes=dynamic_shapes,
        opset=opset,
        resized=bounded,
    )
    return _Source(traced.model, traced, path)


def _prepare(
    given: _Source,
    inputs: Mapping[str, InputSpec],
    constants: Mapping[str, AnyArray | ConstantSpec],
    version: int,
    counts: CountRequest,
    *,
    static: bool,
) -> ir.Model:
    model = given.model
    normalize_sources(model)
    _inline_functions(model)
    adopt_misplaced(model)
    _drop_default_inputs(model)
    model.ir_version = min(max(model.ir_version or 0, _OLDEST_IR), _NEWEST_IR)
    bind_inputs(model, constants)
    _run_checker(model)
    specs = _by_graph_name(model, inputs, given)
    sized = has_free_dimensions(model)
    set_input_shapes(model, choose_sizes(model, specs, counts.sizes))
    before = model.clone() if given.traced is None else None
    converted = convert_opset(model, version)
    if converted and before is not None and not is_renumbered(before, model):
        # Before operators are defined by others: quantized forms then round as numerics.md says.
        if not may_not_end(model):
            _compare_conversion(before, model)
    name_everything(model)
    infer_and_fold(model, counts=counts, sized=sized)
    require_used(counts.bounds, counted_dimensions(model))
    remove_unused(model)
    verify(model, static=static)
    if given.traced is not None:
        difference = compare_with_eager(model, given.traced)
        set_example_feeds(model, given.traced.feeds)
        logger.info("traced; differs from eager torch by %.2g of the range", difference)
    return model


def _by_graph_name(
    model: ir.Model, inputs: Mapping[str, InputSpec], given: _Source
) -> dict[str, InputSpec]:
    """A traced graph has its shapes from the example; only free dimensions still need them."""
    names = {value.name for value in model.graph.inputs}
    if given.traced is None:
        return dict(inputs)
    specs = {name: spec for name, spec in inputs.items() if name in names}
    for value in model.graph.inputs:
        name = value.name or ""
        if name not in specs and name in given.traced.feeds:
            specs[name] = InputSpec(name, given.traced.feeds[name].shape)
    return specs


def _inline_functions(model: ir.Model) -> None:
    if not model.functions:
        return
    try:
        InlinePass()(model)
    except Exception as error:  # the inliner has no public base for what it raises
        cause = str(error.__cause__ or error)
        raise EdgecompError(
            Code.MODEL_INVALID,
            f"the model's functions cannot be inlined: {cause}",
            hint="export again without local functions",
        ) from error


def _drop_default_inputs(model: ir.Model) -> None:
    """Old exporters list initializers as inputs too; nobody feeds them."""
    for value in list(model.graph.inputs):
        if value.name in model.graph.initializers:
            model.graph.inputs.remove(value)


def _run_checker(model: ir.Model) -> None:
    """What onnx checks of a model without functions, and what it does not."""
    proto = skeleton_proto(model)
    check_nodes(proto.graph.node, standard_version(model))
    for value in proto.graph.output:
        # The checker wants a type and a shape; they are inferred later where the file has none.
        if not value.type.WhichOneof("value"):
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.shape.SetInParent()
    try:
        onnx.checker.check_model(proto)
    except onnx.checker.ValidationError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise EdgecompError(
            Code.MODEL_INVALID,
            f"onnx's checker refuses the model: {lines[0] if lines else error}",
            node=_node_in(str(error)),
            hint="export it again with current versions of the exporter and onnx",
        ) from error


def _node_in(text: str) -> str:
    for mark in ("for node with name: ", "Context: Bad node spec for node. Name: ", "Name: "):
        if mark in text:
            return text.split(mark, 1)[1].split()[0]
    return ""


def _has_scan(model: ir.Model) -> bool:
    return any(
        node.op_type == "Scan" for node in ir.traversal.RecursiveGraphIterator(model.graph)
    )


def _compare_conversion(before: ir.Model, after: ir.Model) -> None:
    """The converted model must compute what the file's own operator set says."""
    feeds = random_feeds(after)
    if any(not array.size for array in feeds.values()) and _has_scan(before):
        return  # onnxruntime divides by the number of rounds
    try:
        expected = run_model(before, feeds)
        actual = run_model(after, feeds)
    except EdgecompError as error:
        logger.debug("conversion not compared: %s", error.cause)
        return
    for name, array in expected.items():
        if not isinstance(array, np.ndarray):
            continue  # sequences and optionals are refused later, by name
        difference = relative_difference(actual[name], array)
        if not difference <= _CONVERSION_TOLERANCE and not np.isnan(array).any():
            raise EdgecompError(
                Code.OPSET_UNSUPPORTED,
                f"converting the operator set changes output '{name}' by {difference:.3g} of its "
                "range",
                node=name,
                hint="export the model again with opset 21",
            )
