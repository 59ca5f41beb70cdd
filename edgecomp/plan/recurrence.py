"""Steps of recurrent nets."""

import dataclasses

from edgecomp.plan.finish import Activation


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recurrence:
    """Steps of a recurrent net over what its inputs contribute, which a product computes before.

    inputs: x row-major [S, B, D * gates * padded_hidden] ([B, S, ...] with ``batch_first``): the
        input's part of every gate with all biases, but not the recurrent bias of the candidate
        of a GRU with ``linear_before_reset``; recurrence [D, hidden, gates, padded_hidden],
        float32, or a constant of int8 that ``recurrence_scale`` multiplies;
        then those named in ``extras``, in that order:
        recurrence_scale: constant [D, gates, padded_hidden];
        candidate_bias: [D, padded_hidden]; peepholes: [D, 3, padded_hidden], input, output,
        forget; lengths: int32 [B], steps of each sequence; initial_h and initial_c: float32
        [D, B, hidden] ([B, D, hidden] with ``batch_first``).
    outputs: those named in ``results``, in that order: y [S, D, B, hidden] ([B, S, D, hidden]
        with ``batch_first``), zero behind the end of a sequence; h and c, the last states.

    Gates are in ONNX's order: input, output, forget, candidate (lstm); update, reset, candidate
    (gru); one (rnn).

    Attributes:
        cell: lstm, gru or rnn.
        hidden: elements of a state.
        reverse: for each direction whether it runs from the end.
        activations: for each direction f, g, h (lstm), f, g (gru), f (rnn) of ONNX's equations.
        clip: bound of what goes into the gates' activations, or None.
        batch_first: whether the batch is the outermost dimension.
        linear_before_reset: gru: the reset gate multiplies after the product.
        input_forget: lstm: the forget gate is one minus the input gate.
        extras: names of further inputs.
        results: names of outputs.
    """

    cell: str
    hidden: int
    reverse: tuple[bool, ...]
    activations: tuple[tuple[Activation, ...], ...]
    clip: float | None = None
    batch_first: bool = False
    linear_before_reset: bool = False
    input_forget: bool = False
    extras: tuple[str, ...] = ()
    results: tuple[str, ...] = ("y",)

    @property
    def gates(self) -> int:
        """Gates of the cell."""
        return {"lstm": 4, "gru": 3, "rnn": 1}[self.cell]

    @property
    def padded_hidden(self) -> int:
        """Elements of a gate in memory: whole vectors."""
        return -(-self.hidden // 8) * 8
