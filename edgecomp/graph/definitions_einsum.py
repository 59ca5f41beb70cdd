"""Einsum, written as transposes, reshapes and products of matrices.

    Einsum("bqhd,bkhd->bhqk", q, k)
        =>  MatMul(Transpose(q, "bhqd"), Transpose(k, "bhdk"))

Two operands at a time, from left to right. A letter of both that is wanted later is the batch, one
that is not is summed over; letters of one alone are rows or columns, and joined by Reshape where
there are several or none. What only one operand has and nobody wants is summed before.
"""

import dataclasses
import math

import onnx_ir as ir

from edgecomp.graph.body import Body
from edgecomp.graph.shapes import static_shape

_FLOATS = (
    ir.DataType.FLOAT,
    ir.DataType.FLOAT16,
    ir.DataType.BFLOAT16,
    ir.DataType.DOUBLE,
)


@dataclasses.dataclass(frozen=True)
class _Operand:
    """A value of the definition with a letter for each of its dimensions."""

    name: str
    letters: str


def define_einsum(node: ir.Node) -> Body | None:
    """None for other types than floats, for a diagonal, or a dimension that repeats to fit."""
    shapes = [static_shape(value) for value in node.inputs]
    terms = _terms(node, [len(shape) if shape is not None else None for shape in shapes])
    if terms is None or any(v is None or v.dtype not in _FLOATS for v in node.inputs):
        return None
    letters, result = terms
    sizes: dict[str, int] = {}
    for term, shape in zip(letters, shapes, strict=True):
        assert shape is not None
        for letter, extent in zip(term, shape, strict=True):
            if sizes.setdefault(letter, extent) != extent:
                return None
    if any(len(set(term)) != len(term) for term in (*letters, result)):
        return None
    body = Body()
    writer = _Writer(body, sizes)
    operands = [_Operand(f"i{index}", term) for index, term in enumerate(letters)]
    first, *others = operands
    for index, other in enumerate(others):
        wanted = {*result, *"".join(later.letters for later in others[index + 1 :])}
        first = writer.product(first, other, wanted)
    first = writer.summed(first, set(result))
    body.add("Identity", writer.ordered(first, result).name, to="y")
    return body


#: For the dimensions of an ellipsis: no letters of an equation.
_ELLIPSIS = "0123456789"


def _terms(node: ir.Node, ranks: list[int | None]) -> tuple[list[str], str] | None:
    """Letters of the operands and of the result, with digits for what "..." stands for."""
    text = "".join(node.attributes.get_string("equation", "").split())
    left, arrow, result = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        return None
    if not arrow:
        once = sorted(c for c in set(left) - {",", "."} if left.count(c) == 1)
        result = ("..." if "..." in left else "") + "".join(once)
    spread = ""
    for position, (term, rank) in enumerate(zip(terms, ranks, strict=True)):
        more = -1 if rank is None else rank - len(term.replace("...", ""))
        if not 0 <= more <= len(_ELLIPSIS) or (more and "..." not in term):
            return None
        if "..." in term:
            spread = _ELLIPSIS[:more]  # onnx wants as many dimensions of every operand
        terms[position] = term.replace("...", spread)
    result = result.replace("...", spread)
    return (terms, result) if set(result) <= set("".join(terms)) else None


class _Writer:
    """Writes steps of a definition into a body."""

    def __init__(self, body: Body, sizes: dict[str, int]) -> None:
        self._body = body
        self._sizes = sizes

    def product(self, a: _Operand, b: _Operand, wanted: set[str]) -> _Operand:
        """What two operands make together; ``wanted`` are the letters that are read later."""
        a = self.summed(a, wanted | {*b.letters})
        b = self.summed(b, wanted | {*a.letters})
        both = [letter for letter in a.letters if letter in b.letters]
        batch = "".join(letter for letter in both if letter in wanted)
        inner = "".join(letter for letter in both if letter not in wanted)
        rows = "".join(letter for letter in a.letters if letter not in both)
        columns = "".join(letter for letter in b.letters if letter not in both)
        if not inner:
            return self._outer(a, b, batch, rows, columns)
        left = self._joined(self.ordered(a, batch + rows + inner), batch, rows, inner)
        right = self._joined(self.ordered(b, batch + inner + columns), batch, inner, columns)
        name = self._body.add("MatMul", left, right)
        letters = batch + rows + columns
        if len(rows) != 1 or len(columns) != 1:
            name = self._body.reshaped(name, self._shape(letters))
        return _Operand(name, letters)

    def _outer(
        self, a: _Operand, b: _Operand, batch: str, rows: str, columns: str
    ) -> _Operand:
        """A product without a sum: each element of one with each of the other."""
        left = self.ordered(a, batch + rows).name
        right = self.ordered(b, batch + columns).name
        if columns:
            ones = (1,) * len(columns)
            left = self._body.reshaped(left, (*self._shape(batch + rows), *ones))
        if rows:
            shape = (*self._shape(batch), *(1,) * len(rows), *self._shape(columns))
            right = self._body.reshaped(right, shape)
        return _Operand(self._body.add("Mul", left, right), batch + rows + columns)

    def summed(self, operand: _Operand, wanted: set[str]) -> _Operand:
        """Without the letters that nobody wants."""
        axes = [d for d, letter in enumerate(operand.letters) if letter not in wanted]
        if not axes:
            return operand
        name = self._body.add(
            "ReduceSum", operand.name, self._body.integers(*axes), keepdims=0
        )
        return _Operand(name, "".join(c for c in operand.letters if c in wanted))

    def ordered(self, operand: _Operand, letters: str) -> _Operand:
        """With its dimensions in another order."""
        if operand.letters == letters:
            return operand
        order = [operand.letters.index(letter) for letter in letters]
        return _Operand(self._body.add("Transpose", operand.name, perm=order), letters)

    def _joined(self, operand: _Operand, batch: str, rows: str, columns: str) -> str:
        """The operand as matrices: one dimension of rows, and one of columns."""
        if len(rows) == len(columns) == 1:
            return operand.name
        matrix = (math.prod(self._shape(rows)), math.prod(self._shape(columns)))
        return self._body.reshaped(operand.name, (*self._shape(batch), *matrix))

    def _shape(self, letters: str) -> tuple[int, ...]:
        return tuple(self._sizes[letter] for letter in letters)
