"""Products of a small constant matrix with vectors, written out in few additions.

Two columns that differ only in the signs of some elements are replaced by their inputs' sum and
difference; two such rows come as ``same + opposite`` and ``same - opposite``. The matrices of
Winograd's convolution have such columns and rows where interpolation points come in pairs +-c.
"""

import dataclasses
from collections.abc import Sequence
from fractions import Fraction

from edgecomp.schedules.builder import Expr, KernelBuilder, constant
from edgecomp.schedules.cpu.vectors import lanes_of, pinned

Row = tuple[Fraction, ...]

_ZERO = Fraction(0)


@dataclasses.dataclass(frozen=True)
class Forms:
    """How a matrix is multiplied.

    Attributes:
        column_pairs: inputs that are first replaced by sum and difference.
        rows: the matrix after that.
        row_pairs: rows that are computed together; the others stand alone.
    """

    column_pairs: tuple[tuple[int, int], ...]
    rows: tuple[Row, ...]
    row_pairs: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, matrix: Sequence[Row]) -> "Forms":
        """Find the pairs."""
        columns = list(zip(*matrix, strict=True))
        column_pairs = _pairs(columns)
        for first, second in column_pairs:
            columns[first], columns[second] = _parts(columns[first], columns[second])
        rows = tuple(zip(*columns, strict=True))
        return cls(column_pairs, rows, _pairs(rows))

    @property
    def operations(self) -> int:
        """Vector additions and (fused) multiplications."""
        count = 2 * len(self.column_pairs) + 2 * len(self.row_pairs)
        for form in self._forms():
            terms = [c for c in form if c]
            count += len(terms) - any(abs(c) == 1 for c in terms)
        return count

    def multiply(self, builder: KernelBuilder, vectors: Sequence[Expr]) -> list[Expr]:
        """The matrix times float32 vectors, which should be cheap to repeat (pinned)."""
        inputs = list(vectors)
        for first, second in self.column_pairs:
            a, b = inputs[first], inputs[second]
            inputs[first] = pinned(builder, "sum", a + b)
            inputs[second] = pinned(builder, "difference", a - b)
        paired = {index for pair in self.row_pairs for index in pair}
        results = [
            None if index in paired else combine(row, inputs)
            for index, row in enumerate(self.rows)
        ]
        for first, second in self.row_pairs:
            same, opposite = (
                pinned(builder, name, combine(part, inputs))
                for name, part in zip(
                    ("same", "opposite"),
                    _parts(self.rows[first], self.rows[second]),
                    strict=True,
                )
            )
            results[first], results[second] = same + opposite, same - opposite
        return results

    def _forms(self) -> list[Row]:
        """What ``combine`` is called with."""
        paired = {index for pair in self.row_pairs for index in pair}
        forms = [row for index, row in enumerate(self.rows) if index not in paired]
        for first, second in self.row_pairs:
            forms += _parts(self.rows[first], self.rows[second])
        return forms


def combine(coefficients: Row, vectors: Sequence[Expr]) -> Expr:
    """Sum of the vectors times their coefficients, beginning with those of 1."""
    terms = [(c, v) for c, v in zip(coefficients, vectors, strict=True) if c]
    terms.sort(key=lambda term: (abs(term[0]) != 1, term[0] < 0))
    total: Expr = None
    for coefficient, vector in terms:
        if abs(coefficient) != 1 or (total is None and coefficient < 0):
            vector = vector * constant(float(coefficient), "float32", lanes_of(vector))
            coefficient = Fraction(1)
        if total is None:
            total = vector
        else:
            total = total + vector if coefficient > 0 else total - vector
    return total


def _pairs(rows: Sequence[Row]) -> tuple[tuple[int, int], ...]:
    """Rows equal up to the signs of some, not all, of their elements; each in one pair."""
    found: list[tuple[int, int]] = []
    free = list(range(len(rows)))
    while free:
        first = free.pop(0)
        second = next((i for i in free if _mirrors(rows[first], rows[i])), None)
        if second is not None:
            free.remove(second)
            found.append((first, second))
    return tuple(found)


def _mirrors(a: Row, b: Row) -> bool:
    magnitudes = all(abs(x) == abs(y) for x, y in zip(a, b, strict=True))
    return magnitudes and all(any(part) for part in _parts(a, b))


def _parts(a: Row, b: Row) -> tuple[Row, Row]:
    """Elements that are the same in both, and those of opposite signs, as in ``a``."""
    same = tuple(x if x == y else _ZERO for x, y in zip(a, b, strict=True))
    opposite = tuple(x if x != y else _ZERO for x, y in zip(a, b, strict=True))
    return same, opposite
