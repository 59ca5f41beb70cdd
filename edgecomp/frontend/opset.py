"""One operator set inside: older models are converted up to it, newer ones mostly stay."""

import functools
import logging

import onnx
import onnx_ir as ir

from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.constants import constant_array, new_initializer
from edgecomp.graph.skeleton import skeleton_proto
from edgecomp.graph.source import SOURCE_KEY, inherit_sources, source_of

logger = logging.getLogger(__name__)

#: Gelu, GroupNormalization and blocked QuantizeLinear are in it, and onnxruntime 1.18 runs it.
INTERNAL_OPSET = 21
#: onnxruntime 1.31 runs no newer one.
_NEWEST_RELEASED = 26
#: Before it, the text of an operator was at times changed and nothing else of its definition.
_OLDEST_BY_DEFINITION = 13

_LAST_SCAN_WITH_BATCH = 8


def convert_opset(model: ir.Model, version: int = INTERNAL_OPSET) -> bool:
    """Bring the standard domain up to ``version``; returns whether any node may have changed.

    An operator set that onnxruntime does not know yet becomes the newest that it does, where
    all nodes mean the same in both.

    Scope: main graph and subgraphs; functions must be inlined before.
    Numerics: exact (Resize and Upsample of opset 10 and older keep their own coordinate rule,
    which onnx's converter loses).

    Raises:
        EdgecompError: OPSET_UNSUPPORTED with onnx's reason.
    """
    given = standard_version(model)
    if given > _NEWEST_RELEASED and _means_the_same(model, _NEWEST_RELEASED):
        _renumber(model, _NEWEST_RELEASED)
        if not _takes_its_types(model):
            _renumber(model, given)
    if given >= version:
        return False
    if not _has_standard_nodes(model):
        model.opset_imports[""] = version  # it says nothing where nothing is of the domain
        return False
    if given <= _LAST_SCAN_WITH_BATCH:
        _refuse_old_scan(model)
    sources = {
        value.name: source_of(node)
        for node in ir.traversal.RecursiveGraphIterator(model.graph)
        for value in node.outputs
        if value.name
    }
    try:
        converted = ir.from_proto(
            onnx.version_converter.convert_version(skeleton_proto(model), version)
        )
    except Exception as error:  # the C++ converter raises RuntimeError and its own types
        raise EdgecompError(
            Code.OPSET_UNSUPPORTED,
            f"opset {given} cannot be converted to {version}: {_reason(error)}",
            hint=f"export again with opset {version}",
        ) from error
    _move_weights(model, converted)
    for node in ir.traversal.RecursiveGraphIterator(converted.graph):
        for value in node.outputs:
            source = sources.get(value.name or "")
            if source:
                node.metadata_props[SOURCE_KEY] = source
    if given <= 10:
        _keep_old_resize_rule(converted)
    if given <= 6:
        _keep_old_slope_rule(converted)
    model.graph = converted.graph
    model.opset_imports[""] = version
    model.opset_imports.pop("ai.onnx", None)
    inherit_sources(model)
    logger.info("converted from opset %d to %d", given, version)
    return True


def _has_standard_nodes(model: ir.Model) -> bool:
    nodes = ir.traversal.RecursiveGraphIterator(model.graph)
    return any(node.domain in ("", "ai.onnx") for node in nodes)


def _means_the_same(model: ir.Model, version: int) -> bool:
    """Whether each node has the same definition in another operator set."""
    given = standard_version(model)
    return all(
        _is_same_definition(node.op_type, version, given)
        for node in ir.traversal.RecursiveGraphIterator(model.graph)
        if node.domain in ("", "ai.onnx")
    )


def _renumber(model: ir.Model, version: int) -> None:
    model.opset_imports.pop("ai.onnx", None)
    model.opset_imports[""] = version


def _takes_its_types(model: ir.Model) -> bool:
    """Whether the operators are defined for the types of the model's values."""
    try:
        onnx.shape_inference.infer_shapes(
            skeleton_proto(model), check_type=True, strict_mode=True
        )
    except onnx.shape_inference.InferenceError:
        return False
    return True


def is_renumbered(before: ir.Model, after: ir.Model) -> bool:
    """Whether a conversion left all nodes as they were, and each means the same in both versions.

    It does where its definition has the same inputs, outputs and attributes in both, and at most
    other types: what onnx adds most often. Then there is nothing to compare.
    """
    first, last = standard_version(before), standard_version(after)
    if first < _OLDEST_BY_DEFINITION:
        return False
    if [_written(node) for node in before.graph] != [_written(node) for node in after.graph]:
        return False
    return all(
        _is_same_definition(node.op_type, first, last)
        for node in after.graph
        if node.domain in ("", "ai.onnx")
    )


def standard_version(model: ir.Model) -> int:
    """Version of the standard operators, 1 where the model names none."""
    return model.opset_imports.get("", model.opset_imports.get("ai.onnx", 1))


def _written(node: ir.Node) -> bytes:
    """All of a node but what is noted about it."""
    proto = ir.serde.serialize_node(node)
    proto.name = proto.doc_string = ""
    del proto.metadata_props[:]
    # Inner graphs carry notes of their own: the answer is then "not the same".
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


@functools.cache
def _is_same_definition(operator: str, first: int, second: int) -> bool:
    try:
        old, new = (onnx.defs.get_schema(operator, each, "") for each in (first, second))
    except onnx.defs.SchemaError:
        return False
    return old.since_version == new.since_version or _signature(old) == _signature(new)


def _signature(schema: onnx.defs.OpSchema) -> list[object]:
    """A definition without types and text."""
    ports = [
        [(port.name, port.option, port.is_homogeneous, port.min_arity) for port in side]
        for side in (schema.inputs, schema.outputs)
    ]
    attributes = [
        (name, own.type, own.required, own.default_value.SerializeToString(deterministic=True))
        for name, own in sorted(schema.attributes.items())
    ]
    return [ports, attributes, schema.deprecated]


def _refuse_old_scan(model: ir.Model) -> None:
    """Onnx's converter drops the batch dimension that Scan had, from the inputs too."""
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        if node.op_type == "Scan" and node.domain in ("", "ai.onnx"):
            raise EdgecompError(
                Code.OPSET_UNSUPPORTED,
                "Scan of opset 8 has a batch dimension, which later ones lack",
                node=node.name or "",
                source=source_of(node),
                hint="export again with opset 9 or later",
            )


def _move_weights(old: ir.Model, new: ir.Model) -> None:
    """Give the converted graph the weights that the skeleton left out."""
    inputs = {value.name for value in old.graph.inputs}
    for value in list(new.graph.inputs):
        before = old.graph.initializers.get(value.name or "")
        if before is None:
            continue
        if value.name not in inputs:
            new.graph.inputs.remove(value)
        value.const_value = before.const_value
        value.shape, value.type = before.shape, before.type
        new.graph.register_initializer(value)


def _keep_old_resize_rule(model: ir.Model) -> None:
    """Before opset 11 pixel i came from ``floor(i / scale)``; the default is another rule now."""
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        if node.op_type in ("Resize", "Upsample") and node.domain == "":
            node.attributes["coordinate_transformation_mode"] = ir.AttrString(
                "coordinate_transformation_mode", "asymmetric"
            )
            node.attributes["nearest_mode"] = ir.AttrString("nearest_mode", "floor")


def _keep_old_slope_rule(model: ir.Model) -> None:
    """Before opset 7 a slope of a PRelu belonged to a channel; now it broadcasts from the right."""
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        if node.op_type != "PRelu" or node.domain != "":
            continue
        x, slope = node.inputs[:2]
        array = constant_array(slope)
        if array is None or x is None or x.shape is None or array.ndim != 1 or array.size == 1:
            continue
        assert isinstance(node.graph, ir.Graph)
        assert slope is not None
        shaped = array.reshape(-1, *[1] * (len(x.shape) - 2))
        new = new_initializer(node.graph, f"{slope.name}_channels", shaped)
        node.replace_input_with(1, new)


def _reason(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0].split("/onnx/")[-1] if lines else type(error).__name__
