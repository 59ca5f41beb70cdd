"""Kernels in which each output element is made from one element of each input."""

from collections.abc import Callable, Sequence

from edgecomp.device.target import Target
from edgecomp.plan.sizes import Dimension
from edgecomp.plan.values import Value
from edgecomp.schedules.builder import Expr, splat
from edgecomp.schedules.cpu.iteration import Space
from edgecomp.schedules.gpu.builder import GridBuilder
from edgecomp.schedules.gpu.places import (
    gpu_of,
    in_vectors,
    lanes_of_space,
    most_lanes_of,
    places_of_items,
)
from edgecomp.schedules.gpu.vectors import load_vector, store_vector
from edgecomp.schedules.schedule import Constant, KernelCall

#: (builder, a vector of each input, lanes) -> a vector of the output, as it is stored
Body = Callable[[GridBuilder, list[Expr], int], Expr]
#: dtype of a pointer and the elements behind it
Pointer = tuple[str, Dimension]


def emit_map(
    name: str,
    space: Space,
    output: Pointer,
    inputs: Sequence[Pointer],
    target: Target,
    body: Body,
    *,
    arguments: Sequence[Value | Constant],
    most_lanes: int = 0,
    tables: Sequence[Pointer] = (),
) -> KernelCall:
    """A kernel with a work item for each vector of the output.

    Args:
        name: of the kernel.
        space: operand 0 is the output, then the inputs.
        output: its pointer, the kernel's last.
        inputs: their pointers, the kernel's first.
        target: the device.
        body: the work of one vector.
        arguments: of the call, in the order of the pointers.
        most_lanes: 1 for a body that takes scalars only; 0 for as many as suit the device.
        tables: pointers behind the inputs' that the body reads by itself; ``builder.tables``.
    """
    wanted = most_lanes_of([dtype for dtype, _ in (output, *inputs)], gpu_of(target))
    lanes = most_lanes or lanes_of_space(space, wanted)
    vectors = in_vectors(space, lanes)
    builder = GridBuilder.line(vectors.elements, gpu_of(target).group_items)
    sources = [builder.pointer(f"x{k}", *pointer) for k, pointer in enumerate(inputs)]
    builder.tables = [builder.pointer(f"t{k}", *pointer) for k, pointer in enumerate(tables)]
    y = builder.pointer("y", *output)
    with places_of_items(builder, vectors) as offsets:
        loaded = []
        for k, (source, offset) in enumerate(zip(sources, offsets[1:], strict=True), start=1):
            width = lanes if space.inner_stride(k) == 1 else 1
            value = load_vector(source, offset, width)
            loaded.append(value if width == lanes else splat(value, lanes))
        store_vector(builder, y, offsets[0], body(builder, loaded, lanes), lanes)
    return builder.call(name, arguments)
