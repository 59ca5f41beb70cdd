"""Which depthwise convolutions have a loop of their own on aarch64, and its tile."""

import dataclasses

from edgecomp.device.target import Target
from edgecomp.plan.finish import Activation
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import Convolution
from edgecomp.schedules.builder import Expr, KernelBuilder, constant
from edgecomp.schedules.cpu import depthwise, lane_rows, lane_window
from edgecomp.schedules.cpu.lane_rows import LaneRows
from edgecomp.schedules.cpu.lane_window import LaneWindow
from edgecomp.schedules.cpu.llvm_text import Bounds


@dataclasses.dataclass(frozen=True)
class Loop:
    """Tiles of the loop.

    Attributes:
        rows: of the output in most tiles; tiles of one row exist beside them.
        vectors: of channels in a block.
        columns: at most.
        bounds: of the results, each None for none.
    """

    rows: int
    vectors: int
    columns: int
    bounds: Bounds

    def call(
        self,
        builder: KernelBuilder,
        operation: Operation,
        pointers: tuple[Expr, Expr, Expr],
        size: tuple[int, int, int],
    ) -> None:
        """Emit a tile.

        Args:
            builder: receives the statement.
            operation: the convolution.
            pointers: to x, packed weights and output.
            size: rows, columns and blocks of channels.
        """
        rows, columns, blocks = size
        window = depthwise.window_of(operation)
        x, out = operation.inputs[0].view.strides, operation.output.view.strides
        x_row, x_column = 4 * x[2] * window.dilations[0], 4 * x[3]
        loop: LaneRows | LaneWindow
        if self.vectors == 1:
            loop = LaneRows(
                window=window,
                rows=rows,
                columns=columns,
                blocks=blocks,
                x_row=x_row,
                x_column=x_column,
                out_row=4 * out[2],
                out_column=4 * out[3],
                bounds=self.bounds,
            )
        else:
            loop = LaneWindow(
                window=window,
                columns=columns,
                blocks=blocks,
                x_row=x_row,
                x_column=x_column,
                out_column=4 * out[3],
                bounds=self.bounds,
            )
        bounds = (constant(bound or 0.0, "float32") for bound in self.bounds)
        builder.call_llvm(loop.name, loop.llvm(), *pointers, *bounds)


def loop_for(operation: Operation, target: Target) -> Loop | None:
    """The loop of a claimed operation; None where it has none."""
    kind, (x, weight, _, *residual) = operation.kind, operation.inputs
    assert isinstance(kind, Convolution)
    bounds = _bounds_of(kind.activation)
    plain = weight.shape[0] == x.shape[1] and not residual
    if target.core.isa != "aarch64" or bounds is None or not plain:
        return None
    window = depthwise.window_of(operation)
    if not target.core.in_order:
        columns = lane_window.most_columns(window)
        return Loop(1, lane_window.PAIR, columns, bounds) if columns else None
    steps = [4 * value.view.strides[3] for value in (x, operation.output)]
    batch, _, height, width = operation.output.shape
    rows, columns = lane_rows.tile_for(window, height, width, steps, one_image=batch == 1)
    return Loop(rows, 1, columns, bounds) if rows else None


def _bounds_of(activation: Activation | None) -> Bounds | None:
    """The bounds that an activation is, each None for none; None where it is something else."""
    if activation is None:
        return None, None
    if activation.name == "relu":
        return 0.0, None
    return (activation.alpha, activation.beta) if activation.name == "clip" else None
