"""What a model's inputs and outputs may be, looked at before any work is done."""

from collections.abc import Iterator

import onnx_ir as ir

from edgecomp.errors import Code, EdgecompError

#: Element types that the runtime passes and onnxruntime, which gives the golden outputs, takes.
DTYPES = frozenset(
    {
        ir.DataType.FLOAT,
        ir.DataType.FLOAT16,
        ir.DataType.DOUBLE,
        ir.DataType.BOOL,
        ir.DataType.INT8,
        ir.DataType.INT16,
        ir.DataType.INT32,
        ir.DataType.INT64,
        ir.DataType.UINT8,
        ir.DataType.UINT16,
        ir.DataType.UINT32,
        ir.DataType.UINT64,
    }
)
#: Dimensions of a port in edgecomp/model.h.
MOST_DIMENSIONS = 8


def require_ports(model: ir.Model) -> None:
    """Refuse inputs and outputs that no bundle can have.

    Raises:
        EdgecompError: OPERATOR_UNSUPPORTED listing all of them.
    """
    problems = list(_problems(model.graph))
    if problems:
        names, texts = zip(*problems, strict=True)
        raise EdgecompError(
            Code.OPERATOR_UNSUPPORTED,
            "inputs or outputs that cannot be compiled: " + "; ".join(texts),
            node=names[0],
            hint=f"export with tensors of at most {MOST_DIMENSIONS} dimensions, of floats (32, 64 "
            "or 16 bits), integers or booleans",
        )


def _problems(graph: ir.Graph) -> Iterator[tuple[str, str]]:
    for kind, values in (("input", graph.inputs), ("output", graph.outputs)):
        for value in values:
            name = value.name or ""
            if not isinstance(value.type, ir.TensorType):
                yield name, f"{kind} '{name}' is {value.type}, not a tensor"
            elif value.dtype not in DTYPES:
                yield name, f"{kind} '{name}' has element type {value.dtype}"
            elif value.shape is not None and len(value.shape) > MOST_DIMENSIONS:
                yield name, f"{kind} '{name}' has {len(value.shape)} dimensions"
