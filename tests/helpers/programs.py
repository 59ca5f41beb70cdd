"""Programs as text, and from ONNX text."""

import onnx.parser
import onnx_ir as ir

from edgecomp.frontend.load import load_model
from edgecomp.lower.read import read_program
from edgecomp.plan.elementwise import Elementwise
from edgecomp.plan.movement import StridedCopy
from helpers.targets import AVX512


def model_of(text, **initializers):
    """onnx_ir model from ONNX text; float32 initializers given as numpy arrays by name."""
    proto = onnx.parser.parse_model(text)
    for name, array in initializers.items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return load_model(ir.serde.deserialize_model(proto))


def program_of(text, target=AVX512, **initializers):
    program, refusals = read_program(model_of(text, **initializers), target, "test")
    assert not refusals, refusals
    return program


def describe(program):
    """One line per operation: kind, what tells it apart, values with shape and layout."""
    lines = []
    for operation in program.operations:
        inputs = ", ".join(_value(v) for v in operation.inputs)
        outputs = ", ".join(_value(v) for v in operation.outputs)
        lines.append(f"{outputs} = {_kind(operation.kind)}({inputs})")
    return "\n".join(lines) + "\n"


def _value(value):
    shape = "x".join(map(str, value.shape)) or "scalar"
    if value.constant is not None:
        return f"const[{shape}]"
    halo = value.halo
    edge = f"+{halo.top},{halo.left},{halo.bottom},{halo.right}" if halo else ""
    return f"{value.name}[{shape} {value.dtype} {value.order.value}{edge}]"


def _kind(kind):
    name = type(kind).__name__
    if isinstance(kind, Elementwise):
        return name + "".join(
            f"<{s.operator} {' '.join(map(str, s.operands))}>" for s in kind.steps
        )
    if isinstance(kind, StridedCopy):
        return f"{name}<{'x'.join(map(str, kind.shape))}>"
    extras = []
    if getattr(kind, "activation", None):
        extras.append(kind.activation.name)
    if getattr(kind, "residual", False):
        extras.append("residual")
    if hasattr(kind, "value"):
        extras.append(str(kind.value))
    return name + (f"<{' '.join(extras)}>" if extras else "")
