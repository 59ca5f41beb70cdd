"""Join operations so that intermediate values never leave registers.

Order matters: a convolution or product takes its bias, its residual and its activation first;
what elementwise steps remain are then joined into chains.
"""

import dataclasses

import numpy as np

from edgecomp.lower.fuse_moves import fuse_moves
from edgecomp.lower.fuse_squares import fuse_squares
from edgecomp.lower.fuse_tables import fuse_tables
from edgecomp.lower.lift_sequences import lift_sequences
from edgecomp.lower.uses import Uses, replace
from edgecomp.plan.elementwise import Elementwise, QuantizedAdd, Step
from edgecomp.plan.finish import Activation, Finish, RuntimeScale, Scale
from edgecomp.plan.operations import Operation, Program, bodies_of
from edgecomp.plan.products import Convolution, MatrixMultiply, PackedMatrixMultiply
from edgecomp.plan.values import Value

#: Elementwise operators that a convolution or product can end with, and their parameters.
ACTIVATIONS: dict[str, tuple[str, str]] = {
    "Relu": ("", ""),
    "Clip": ("min", "max"),
    "LeakyRelu": ("alpha", ""),
    "HardSwish": ("", ""),
    "HardSigmoid": ("alpha", "beta"),
    "Sigmoid": ("", ""),
    "Tanh": ("", ""),
    "Gelu": ("", ""),
}

#: Kinds that can end with an activation.
_ACTIVATED = (Convolution, MatrixMultiply, PackedMatrixMultiply)

#: A kernel takes at most 12 pointers; one is the output.
MOST_CHAIN_INPUTS = 10
MOST_CHAIN_STEPS = 24


def fuse(program: Program) -> None:
    """Run every fusion until none applies; bodies of branches and loops for themselves."""
    for operation in program.operations:
        for body in bodies_of(operation):
            fuse(body)
    lift_sequences(program)
    fuse_tables(program)
    for rule in (
        fuse_bias,
        fuse_activation,
        fuse_residual,
        fuse_activation,
        fuse_quantized_residual,
    ):
        while rule(program):
            pass
    fuse_squares(program)
    while fuse_elementwise(program):
        pass
    fuse_moves(program)


def fuse_bias(program: Program) -> bool:
    """A constant of one element per channel added after a product becomes its bias."""
    uses = Uses(program)
    for operation in program.operations:
        kind = operation.kind
        if not isinstance(kind, (MatrixMultiply, PackedMatrixMultiply)) or kind.activation:
            continue
        if isinstance(kind, MatrixMultiply) and kind.finish:
            continue
        add = _only_step(uses, operation, "Add")
        if add is None:
            continue
        other = _other_input(add, operation.outputs[0])
        columns = operation.outputs[0].shape[-1]
        if other is None or other.constant is None or other.constant.size not in (1, columns):
            continue
        if other.constant.ndim and other.shape[-1] != other.constant.size:
            continue
        index = 2 if isinstance(kind, MatrixMultiply) else 4
        bias = operation.inputs[index]
        assert bias.constant is not None
        total = bias.constant + other.constant.reshape(-1)
        operation.inputs[index] = dataclasses.replace(
            bias, constant=np.ascontiguousarray(total), name=f"{bias.name}+{other.name}"
        )
        _absorb(program, operation, add)
        return True
    return False


def fuse_residual(program: Program) -> bool:
    """An addition of two values of one shape joins the later of the two that make them."""
    uses = Uses(program)
    for operation in program.operations:
        kind = operation.kind
        if not isinstance(kind, (Convolution, MatrixMultiply)) or kind.residual:
            continue
        if kind.activation or not _leaves_floats(kind.finish):
            continue
        add = _only_step(uses, operation, "Add")
        if add is None:
            continue
        other = _residual_of(uses, operation, add)
        if other is None:
            continue
        operation.kind = dataclasses.replace(kind, residual=True)
        operation.inputs.append(other)
        _absorb(program, operation, add)
        return True
    return False


def fuse_quantized_residual(program: Program) -> bool:
    """An integer addition of two values of one shape joins the later of the two."""
    uses = Uses(program)
    for operation in program.operations:
        kind = operation.kind
        if not isinstance(kind, (Convolution, MatrixMultiply)) or kind.residual:
            continue
        after = uses.only_consumer(operation.output)
        if after is None or not isinstance(after.kind, QuantizedAdd):
            continue
        other = _residual_of(uses, operation, after)
        if other is None:
            continue
        add = after.kind.integer_add
        if after.inputs[0] is other:
            add = dataclasses.replace(
                add,
                weight_a=add.weight_b,
                weight_b=add.weight_a,
                zero_a=add.zero_b,
                zero_b=add.zero_a,
            )
        operation.kind = dataclasses.replace(kind, residual=True, integer_add=add)
        operation.inputs.append(other)
        _absorb(program, operation, after)
        return True
    return False


def fuse_activation(program: Program) -> bool:
    """A function of one value joins the convolution or product that makes it."""
    uses = Uses(program)
    for operation in program.operations:
        kind = operation.kind
        if not isinstance(kind, _ACTIVATED) or kind.activation:
            continue
        if not (isinstance(kind, PackedMatrixMultiply) or _leaves_floats(kind.finish)):
            continue
        after = uses.only_consumer(operation.outputs[0])
        if after is None or not isinstance(after.kind, Elementwise):
            after, activation = _find_silu(uses, operation)
        else:
            activation = _activation(after.kind.steps, len(after.inputs))
        if after is None or activation is None or after.output.dtype != "float32":
            continue
        operation.kind = dataclasses.replace(kind, activation=activation)
        if activation.name == "silu":
            (sigmoid,) = (o for o in uses.consumers(operation.outputs[0]) if o is not after)
            replace(program, [sigmoid])
        _absorb(program, operation, after)
        return True
    return False


def _leaves_floats(finish: Finish | None) -> bool:
    """Whether float results leave a product, of floats or of integers."""
    return finish is None or isinstance(finish, (Scale, RuntimeScale))


def _find_silu(uses: Uses, operation: Operation) -> tuple[Operation | None, Activation | None]:
    """``x * sigmoid(x)`` behind an operation: the multiplication, and the activation."""
    value = operation.outputs[0]
    readers = uses.consumers(value)
    if len(readers) != 2 or value in uses.outputs:
        return None, None
    sigmoids = [o for o in readers if _is_step(o, "Sigmoid")]
    products = [o for o in readers if _is_step(o, "Mul")]
    if len(sigmoids) != 1 or len(products) != 1:
        return None, None
    (sigmoid,), (product,) = sigmoids, products
    if uses.only_consumer(sigmoid.output) is not product:
        return None, None
    return product, Activation("silu")


def _activation(steps: tuple[Step, ...], inputs: int) -> Activation | None:
    """The activation that a chain is, if it is just one."""
    if len(steps) != 1 or inputs != 1 or steps[0].operator not in ACTIVATIONS:
        return None
    step = steps[0]
    attributes = dict(step.attributes)
    if attributes.get("approximate") == "tanh":
        return Activation("gelu_tanh")
    first, second = ACTIVATIONS[step.operator]
    alpha = float(attributes.get(first, -np.inf if first == "min" else 0.0))
    beta = float(attributes.get(second, np.inf if second == "max" else 0.0))
    return Activation(step.operator.lower(), alpha, beta)


def fuse_elementwise(program: Program) -> bool:
    """Chains whose only reader is another chain of the same shape join it, in one sweep."""
    uses = Uses(program)
    joined: set[Operation] = set()
    for operation in program.operations:
        if not isinstance(operation.kind, Elementwise):
            continue
        readers = set(uses.consumers(operation.output))
        if len(readers) != 1 or operation.output in uses.outputs:
            continue
        (after,) = readers
        if (
            not isinstance(after.kind, Elementwise)
            or after.output.shape != operation.output.shape
        ):
            continue
        inputs = list(dict.fromkeys([*operation.inputs, *after.inputs]))
        inputs.remove(operation.output)
        count = len(operation.kind.steps) + len(after.kind.steps)
        if len(inputs) > MOST_CHAIN_INPUTS or count > MOST_CHAIN_STEPS:
            continue
        after.kind = Elementwise(_join(operation, after, inputs))
        after.inputs = inputs
        after.nodes = operation.nodes + after.nodes
        after.source = operation.source or after.source
        uses.absorb(operation, after)
        joined.add(operation)
    replace(program, joined)
    return bool(joined)


def _join(first: Operation, second: Operation, inputs: list[Value]) -> tuple[Step, ...]:
    """Steps of two chains over the joint inputs."""
    assert isinstance(first.kind, Elementwise)
    assert isinstance(second.kind, Elementwise)
    count = len(inputs)
    result = count + len(first.kind.steps) - 1

    def renumber(owner: Operation, steps: tuple[Step, ...], base: int) -> list[Step]:
        def operand(index: int) -> int:
            if index >= len(owner.inputs):
                return base + index - len(owner.inputs)
            value = owner.inputs[index]
            return result if value is first.output else inputs.index(value)

        return [
            dataclasses.replace(s, operands=tuple(operand(o) for o in s.operands))
            for s in steps
        ]

    head = renumber(first, first.kind.steps, count)
    return (*head, *renumber(second, second.kind.steps, count + len(head)))


def _is_step(operation: Operation, operator: str) -> bool:
    kind = operation.kind
    return (
        isinstance(kind, Elementwise)
        and len(kind.steps) == 1
        and kind.steps[0].operator == operator
    )


def _only_step(uses: Uses, operation: Operation, operator: str) -> Operation | None:
    """The single reader of an operation's result, when it is one step of ``operator``."""
    after = uses.only_consumer(operation.outputs[0])
    return after if after is not None and _is_step(after, operator) else None


def _other_input(step: Operation, value: Value) -> Value | None:
    """The operand of a two-operand step that is not ``value``; the shapes must agree."""
    others = [v for v in step.inputs if v is not value]
    return others[0] if len(others) == 1 and step.output.shape == value.shape else None


def _residual_of(uses: Uses, operation: Operation, add: Operation) -> Value | None:
    """The other operand of an addition, where it is complete before ``operation`` runs."""
    other = _other_input(add, operation.output)
    if other is None or other.constant is not None or other.shape != operation.output.shape:
        return None
    return other if uses.written_before(other, operation) else None


def _absorb(program: Program, operation: Operation, after: Operation) -> None:
    """``operation`` now writes what ``after`` wrote."""
    operation.outputs = [*after.outputs, *operation.outputs[1:]]
    operation.nodes += after.nodes
    replace(program, [after])
