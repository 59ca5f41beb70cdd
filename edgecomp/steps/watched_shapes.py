"""Shapes at sizes that had no part in a program.

A program is made from readings at larger sizes. What a model does otherwise at few elements (the
last two of one, a dimension of 1 that is squeezed) must not pass unseen: every shape of it is
compared there.
"""

import dataclasses
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import onnx_ir as ir

from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.shapes import static_shape
from edgecomp.graph.source import source_of
from edgecomp.lower.fit_size import fit_size
from edgecomp.lower.lower import Variant
from edgecomp.plan.sizes import Symbol, evaluate

logger = logging.getLogger(__name__)

#: Counts that are looked at like all others.
_FEW = (0, 1, 2)

Shapes = dict[str, tuple[int, ...]]


@dataclasses.dataclass
class WatchedShapes:
    """Shapes of a model's values at the sizes that a program is made from.

    Attributes:
        symbols: of the model.
        model: at the largest sizes.
    """

    symbols: Sequence[Symbol]
    model: ir.Model

    def __post_init__(self) -> None:
        largest = {symbol: symbol.maximum for symbol in self.symbols}
        self._seen: list[tuple[Mapping[Symbol, int], Shapes]] = [
            (largest, _shapes(self.model))
        ]
        self._elsewhere: list[tuple[Mapping[str, int], Shapes]] = []

    def note(self, sizes: Mapping[str, int], model: ir.Model) -> None:
        """Keep the shapes at sizes by name that have no part in the program."""
        self._elsewhere.append((sizes, _shapes(model)))

    def watched(
        self, variants: Iterable[Variant], at_sizes: Callable[[Mapping[str, int]], ir.Model]
    ) -> Iterator[Variant]:
        """The variants, whose shapes are noted as they pass; then other sizes are compared.

        These are the ones that were kept, and few elements of what is counted.

        Args:
            variants: of the model.
            at_sizes: reads the model at sizes by name.

        Raises:
            EdgecompError: DIMENSION_FREE naming the first node that does something else there.
        """
        for variant in variants:
            self._seen.append((variant.sizes, _shapes(variant.model)))
            yield variant
        for sizes, shapes in self._elsewhere:
            self._compare(sizes, shapes)
        if any(symbol.is_counted for symbol in self.symbols):
            self._compare_few(at_sizes)

    def _compare_few(self, at_sizes: Callable[[Mapping[str, int]], ir.Model]) -> None:
        for few in _FEW:
            sizes = {
                s.name: s.step
                * (min(max(few, s.minimum), s.maximum) if s.is_counted else s.maximum)
                for s in self.symbols
            }
            try:
                model = at_sizes(sizes)
            except EdgecompError as error:
                logger.warning("the model cannot have %s: %s", _listed(sizes), error.cause)
                continue
            self._compare(sizes, _shapes(model))

    def _compare(self, sizes: Mapping[str, int], found: Shapes) -> None:
        values = {s: sizes[s.name] // s.step for s in self.symbols}
        for node in self.model.graph:
            for value in node.outputs:
                name = value.name or ""
                if name not in found or any(name not in shapes for _, shapes in self._seen):
                    continue
                wanted = self._expected(name, values)
                if wanted is not None and wanted != found[name]:
                    raise _differs(node, wanted, found[name], sizes)

    def _expected(self, name: str, values: Mapping[Symbol, int]) -> tuple[int, ...] | None:
        """A value's shape by what the other sizes say, None where they say nothing simple."""
        sizes = [each for each, _ in self._seen]
        seen = [shapes[name] for _, shapes in self._seen]
        if len({len(shape) for shape in seen}) > 1:
            return None  # the programs differ, too, which their comparison says
        columns = zip(*seen, strict=True)
        fitted = [fit_size(column, sizes) for column in columns]
        if any(size is None for size in fitted):
            return None
        return tuple(max(0, evaluate(size, values)) for size in fitted)


def _shapes(model: ir.Model) -> Shapes:
    return {
        value.name: shape
        for node in model.graph
        for value in node.outputs
        if value.name and (shape := static_shape(value)) is not None
    }


def _differs(
    node: ir.Node, wanted: tuple[int, ...], found: tuple[int, ...], sizes: Mapping[str, int]
) -> EdgecompError:
    return EdgecompError(
        Code.DIMENSION_FREE,
        f"{node.op_type} '{node.name}' gives {list(found)} at {_listed(sizes)}, where other sizes "
        f"let expect {list(wanted)}: the model does something else there",
        node=node.name or "",
        source=source_of(node),
        hint="write it so that its shape follows from the size alike for any size, or leave these "
        "sizes out with narrower bounds of --input, or of --bound for a count",
    )


def _listed(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name}={size}" for name, size in sizes.items())
