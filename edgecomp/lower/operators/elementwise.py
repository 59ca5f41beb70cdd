"""Elementwise operators: one-step chains that ``fuse_elementwise`` joins later."""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from edgecomp.lower.reader import Reader, constant_input, optional_input
from edgecomp.plan.elementwise import Elementwise, Step

#: Operator type -> attributes the step carries, with ONNX's defaults.
ATTRIBUTES: dict[str, dict[str, float | int | str]] = {
    "Elu": {"alpha": 1.0},
    "Celu": {"alpha": 1.0},
    "Selu": {"alpha": 1.6732632423543772, "gamma": 1.0507009873554805},
    "LeakyRelu": {"alpha": 0.01},
    "ThresholdedRelu": {"alpha": 1.0},
    "HardSigmoid": {"alpha": 0.2, "beta": 0.5},
    "Shrink": {"bias": 0.0, "lambd": 0.5},
    "Gelu": {"approximate": "none"},
    "Mod": {"fmod": 0},
    "BitShift": {"direction": ""},
    "IsInf": {"detect_negative": 1, "detect_positive": 1},
}

PLAIN = [
    "Abs",
    "Acos",
    "Acosh",
    "Add",
    "And",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "BitwiseAnd",
    "BitwiseNot",
    "BitwiseOr",
    "BitwiseXor",
    "Ceil",
    "Cos",
    "Cosh",
    "Div",
    "Equal",
    "Erf",
    "Exp",
    "Floor",
    "Greater",
    "GreaterOrEqual",
    "HardSwish",
    "IsNaN",
    "Less",
    "LessOrEqual",
    "Log",
    "Mish",
    "Mul",
    "Neg",
    "Not",
    "Or",
    "PRelu",
    "Pow",
    "Reciprocal",
    "Relu",
    "Round",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Sub",
    "Tan",
    "Tanh",
    "Where",
    "Xor",
]


def read_step(reader: Reader, node: ir.Node) -> str:
    """An operator whose operands are its inputs."""
    output = reader.value(node.outputs[0])
    attributes = {
        name: node.attributes[name].value if name in node.attributes else default
        for name, default in ATTRIBUTES.get(node.op_type, {}).items()
    }
    inputs = [reader.value(value) for value in node.inputs if value is not None]
    step = Step(
        node.op_type,
        tuple(range(len(inputs))),
        output.dtype,
        tuple(sorted(attributes.items())),
    )
    reader.emit(Elementwise((step,)), inputs, [output], [node])
    return ""


def read_clip(reader: Reader, node: ir.Node) -> str:
    """Clip: constant bounds become attributes."""
    output = reader.value(node.outputs[0])
    bounds: dict[str, float | int | str] = {}
    for index, name in ((1, "min"), (2, "max")):
        contents = constant_input(node, index)
        if contents is not None and contents.size == 1:
            bounds[name] = contents.reshape(-1)[0].item()
        elif optional_input(node, index) is not None:
            return "bounds are computed at run time"
        elif name in node.attributes:
            bounds[name] = node.attributes[name].as_float()
    step = Step("Clip", (0,), output.dtype, tuple(sorted(bounds.items())))
    reader.emit(Elementwise((step,)), [reader.input(node, 0)], [output], [node])
    return ""


def _read_variadic(pairwise: str) -> Callable[[Reader, ir.Node], str]:
    def read(reader: Reader, node: ir.Node) -> str:
        output = reader.value(node.outputs[0])
        inputs = [reader.value(value) for value in node.inputs if value is not None]
        steps, left = [], 0
        for right in range(1, len(inputs)):
            steps.append(Step(pairwise, (left, right), output.dtype))
            left = len(inputs) + len(steps) - 1
        if node.op_type == "Mean":
            count = reader.new_constant(
                f"{output.name}.count", np.asarray(1 / len(inputs), output.dtype)
            )
            # Inputs are numbered before steps: the constant moves every step by one.
            steps = [
                Step(s.operator, tuple(o + (o >= len(inputs)) for o in s.operands), s.dtype)
                for s in steps
            ]
            inputs.append(count)
            last = len(inputs) + len(steps) - 1 if steps else 0
            steps.append(Step("Mul", (last, len(inputs) - 1), output.dtype))
        if not steps:
            steps.append(Step("Identity", (0,), output.dtype))
        reader.emit(Elementwise(tuple(steps)), inputs, [output], [node])
        return ""

    return read


TABLE: dict[str, Callable[[Reader, ir.Node], str]] = {
    **dict.fromkeys([*PLAIN, *ATTRIBUTES], read_step),
    "Clip": read_clip,
    "Max": _read_variadic("Max"),
    "Min": _read_variadic("Min"),
    "Sum": _read_variadic("Add"),
    "Mean": _read_variadic("Add"),
}
