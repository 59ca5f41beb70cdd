"""Symbols and expressions of a program as the tables of a plan."""

from collections.abc import Sequence

from edgecomp.errors import Code, EdgecompError
from edgecomp.plan.plan import DynamicCall, Extent, PlanSymbol
from edgecomp.plan.sizes import Dimension, Size, Symbol, symbols_of, terms_of
from edgecomp.schedules.schedule import Dynamic

#: EC_MAX_TERM_SYMBOLS of the runtime.
_MOST_SYMBOLS = 6


class SymbolTable:
    """The plan's symbols: first those that are given, then derived ones in order of need."""

    def __init__(self, given: Sequence[Symbol]) -> None:
        self._numbers: dict[Symbol, int] = {}
        self._symbols: list[PlanSymbol] = []
        for symbol in given:
            self._add(symbol)

    @property
    def symbols(self) -> tuple[PlanSymbol, ...]:
        """All that were needed so far."""
        return tuple(self._symbols)

    def extent(self, dimension: Dimension, divisor: int = 1) -> Extent:
        """``floor(dimension / divisor)``."""
        if isinstance(dimension, Size):
            for symbol in symbols_of(dimension):
                self._add(symbol)
        terms = []
        for monomial, factor in terms_of(dimension):
            if len(monomial) > _MOST_SYMBOLS:
                raise EdgecompError(
                    Code.DIMENSION_FREE,
                    f"the size {dimension} is a product of more than {_MOST_SYMBOLS} dimensions",
                    hint="give one of the dimensions as a number",
                )
            terms.append((factor, tuple(self._numbers[symbol] for symbol in monomial)))
        return Extent(tuple(terms), divisor)

    def call(self, dynamic: Dynamic) -> DynamicCall:
        """What differs from run to run in a call."""
        items = dynamic.groups or ((dynamic.items, dynamic.divisor),)
        return DynamicCall(
            tuple(self.extent(number, divisor) for number, divisor in items),
            tuple(self.extent(size) for size in dynamic.sizes),
            dynamic.strides,
        )

    def number(self, name: str) -> int:
        """Index of a symbol."""
        return next(index for symbol, index in self._numbers.items() if symbol.name == name)

    def _add(self, symbol: Symbol) -> None:
        if symbol in self._numbers:
            return
        derived = None
        if symbol.numerator is not None:
            derived = self.extent(symbol.numerator, symbol.divisor)
        self._numbers[symbol] = len(self._symbols)
        low, high = symbol.minimum, symbol.maximum
        self._symbols.append(PlanSymbol(symbol.name, low, high, derived, symbol.is_counted))
