"""Values of a model over calibration samples, one after the other in execution order.

For methods that change a layer and go on with what the changed model gives. Between two values the
samples' intermediate results are kept where they fit into memory; where they do not, each value is
computed from the inputs again, so that memory is bounded however many samples there are.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

import onnx_ir as ir

from edgecomp.graph.bodies import bodies, captured_values
from edgecomp.graph.constants import AnyArray
from edgecomp.graph.run import Runner

Feed = Mapping[str, AnyArray]

#: Intermediate results of all samples.
MOST_BYTES = 512 << 20


class ValuesInOrder:
    """Runs a model piece by piece.

    Args:
        model: may be changed behind the last value that was asked for.
        samples: feeds of the graph inputs; iterated once, or once per value where intermediate
            results take more than ``memory_bytes``.
        memory_bytes: for intermediate results of all samples; None to keep them in any case.
        optimize: let onnxruntime rewrite the pieces.
    """

    def __init__(
        self,
        model: ir.Model,
        samples: Iterable[Feed],
        memory_bytes: int | None = MOST_BYTES,
        *,
        optimize: bool = True,
    ) -> None:
        self._model, self._samples = model, samples
        self._optimize = optimize
        self._nodes = list(model.graph)
        self._memory_bytes = memory_bytes
        self._position = 0
        #: What nodes behind the position read, per sample; None where it is not kept.
        self._kept: list[dict[str, AnyArray]] | None = None
        self._may_keep = True

    def of(self, value: ir.Value) -> Iterator[AnyArray]:
        """A value for every sample; all of them have to be taken."""
        maker = value.producer()
        end = self._position if maker is None else self._nodes.index(maker) + 1
        end = max(end, self._position)
        start = 0 if self._kept is None else self._position
        inside, behind = self._nodes[start:end], self._nodes[end:]
        after = {v for node in behind for v in _reads(node)} | {value}
        wanted = [v for node in inside for v in node.outputs if v in after]
        piece = self._piece(inside, wanted) if inside else None
        names = {v.name or "" for v in after}
        source = self._kept if self._kept is not None else self._samples
        kept: list[dict[str, AnyArray]] = []
        total = 0
        for sample in source:
            live = dict(sample)
            if piece is not None:
                live |= piece(sample)
            yield live[value.name or ""]
            live = {name: array for name, array in live.items() if name in names}
            total += sum(array.nbytes for array in live.values())
            if self._memory_bytes is not None and total > self._memory_bytes:
                self._may_keep = False
                kept.clear()
            if self._may_keep:
                kept.append(live)
        self._kept = kept if self._may_keep else None
        self._position = end

    def change(self, value: ir.Value, change: Callable[[AnyArray], AnyArray]) -> None:
        """Go on with another array in place of the value that was asked for last.

        Only where results are kept in any case.
        """
        assert self._kept is not None
        for live in self._kept:
            live[value.name or ""] = change(live[value.name or ""])

    def _piece(self, inside: list[ir.Node], wanted: list[ir.Value]) -> "_Piece":
        made = {v for node in inside for v in node.outputs}
        read = dict.fromkeys(v for node in inside for v in _reads(node))
        inputs = [
            v
            for v in read
            if v not in made and (v.producer() is not None or v.is_graph_input())
        ]
        graph = ir.convenience.extract(self._model.graph, inputs, wanted)
        piece = ir.Model(graph, ir_version=self._model.ir_version)
        runner = Runner(piece, [v.name or "" for v in wanted], optimize=self._optimize)
        return _Piece(runner, [v.name or "" for v in inputs])


class _Piece:
    def __init__(self, runner: Runner, inputs: list[str]) -> None:
        self._runner, self._inputs = runner, inputs

    def __call__(self, live: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        return self._runner({name: live[name] for name in self._inputs})


def _reads(node: ir.Node) -> Iterator[ir.Value]:
    yield from (value for value in node.inputs if value is not None)
    for body in bodies(node):
        yield from captured_values(body)
