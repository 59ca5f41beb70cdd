"""From what a calibration source yields to checked feeds of the model."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from edgecomp.errors import Code, EdgecompError, nearest_hint
from edgecomp.graph.constants import AnyArray

Feed = dict[str, AnyArray]


class InputLike(Protocol):
    """One graph input: an onnx_ir value, or what a user says about one."""

    @property
    def name(self) -> str | None:
        """Of the graph input."""

    @property
    def shape(self) -> Any:
        """Iterable of fixed extents."""

    @property
    def dtype(self) -> Any:
        """onnx_ir data type, numpy dtype or its name; "" is float32."""


def shape_and_dtype(spec: InputLike) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and numpy dtype of an input."""
    shape = tuple(int(extent) for extent in spec.shape)
    if hasattr(spec.dtype, "numpy"):
        return shape, np.dtype(spec.dtype.numpy())
    return shape, np.dtype(spec.dtype or "float32")


class FeedBuilder:
    """Binds items to inputs, checks them and regroups rows into the model's batch.

    An item is a mapping from input name to array, a sequence of arrays in input order, or one
    array for a model of one input. Its arrays have the inputs' shapes; or any number of rows
    where the inputs have their batch; or are one row without the batch dimension.
    """

    def __init__(self, inputs: Sequence[InputLike]) -> None:
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._dtypes: dict[str, np.dtype[Any]] = {}
        for spec in inputs:
            self._shapes[spec.name or ""], self._dtypes[spec.name or ""] = shape_and_dtype(
                spec
            )
        first = next(iter(self._shapes.values()), ())
        self._batch = first[0] if first else 1

    def feeds(self, items: Iterable[object]) -> Iterator[Feed]:
        """One feed after the other; rows that do not fill the last batch are dropped.

        Raises:
            EdgecompError: CALIBRATION_INVALID naming the sample and the input.
        """
        rows: list[Feed] = []
        made = 0
        for index, item in enumerate(items):
            arrays = self._bind(item, index)
            if all(a.shape == self._shapes[n] for n, a in arrays.items()):
                yield self._checked(arrays, index)
                made += 1
                continue
            for row in self._rows(arrays, index):
                rows.append(self._checked(row, index))
                if len(rows) == self._batch:
                    yield {name: np.stack([row[name] for row in rows]) for name in row}
                    made += 1
                    rows = []
        if rows and not made:
            raise EdgecompError(
                Code.CALIBRATION_INVALID,
                f"the model's batch is {self._batch}, the calibration set has {len(rows)} rows",
                hint="give more samples, or export the model with a batch of 1",
            )

    def _bind(self, item: object, index: int) -> Feed:
        """Arrays by input name, of the inputs' dtypes."""
        names = list(self._shapes)
        if isinstance(item, Mapping):
            given = {str(name): value for name, value in item.items()}
        elif isinstance(item, (tuple, list)) and not _is_numbers(item):
            if len(item) != len(names):
                raise _invalid(
                    index,
                    f"has {len(item)} parts, the model {len(names)} inputs ({', '.join(names)})",
                    "a data loader's labels are dropped by transform=lambda item: item[0]",
                )
            given = dict(zip(names, item, strict=True))
        elif len(names) == 1:
            given = {names[0]: item}
        else:
            raise _invalid(index, f"is one array, the model has {len(names)} inputs", "")
        for name in given:
            if name not in self._shapes:
                raise _invalid(
                    index, f"names an input '{name}' that the model has not",
                    nearest_hint(name, names),
                )  # fmt: skip
        missing = [name for name in names if name not in given]
        if missing:
            raise _invalid(index, f"lacks input '{missing[0]}'", "")
        return {name: self._converted(given[name], name, index) for name in names}

    def _converted(self, value: object, name: str, index: int) -> AnyArray:
        array = as_array(value)
        wanted = self._dtypes[name]
        if array.dtype == wanted:
            return array
        # float64 to float32 and int64 to int32 are how numpy scripts write; 8-bit pixels for
        # a float input are most likely a forgotten normalization.
        if array.dtype.kind not in "biuf" or array.dtype.kind != wanted.kind:
            raise _invalid(
                index, f"input '{name}' is {array.dtype}, the model takes {wanted}",
                "convert it, and normalize it as in training, before it is given",
            )  # fmt: skip
        with np.errstate(over="ignore"):
            converted = array.astype(wanted)
        if wanted.kind in "iu" and not np.array_equal(converted, array):
            raise _invalid(
                index, f"input '{name}' has numbers that do not fit in {wanted}", ""
            )
        return converted

    def _rows(self, arrays: Feed, index: int) -> Iterator[Feed]:
        """The rows of a batch of another size, or of a sample without a batch dimension."""
        shapes = self._shapes
        if all(shapes[n] and a.shape == shapes[n][1:] for n, a in arrays.items()):
            yield arrays
            return
        counts = set()
        for name, array in arrays.items():
            wanted = shapes[name]
            if array.ndim != len(wanted) or array.shape[1:] != wanted[1:] or not wanted:
                raise _invalid(
                    index, f"input '{name}' has shape {list(array.shape)}, "
                    f"the model takes {list(wanted)}", "",
                )  # fmt: skip
            counts.add(len(array))
        if len(counts) != 1:
            raise _invalid(index, "has inputs of different batch", "")
        for row in range(counts.pop()):
            yield {name: array[row] for name, array in arrays.items()}

    def _checked(self, arrays: Feed, index: int) -> Feed:
        for name, array in arrays.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                kind = "NaN" if np.isnan(array).any() else "infinity"
                raise _invalid(index, f"input '{name}' contains {kind}", "")
        return arrays


def as_array(value: Any) -> AnyArray:
    """A numpy array, also of a torch tensor on any device."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    return np.asarray(value)


def _is_numbers(item: Sequence[object]) -> bool:
    return bool(item) and all(isinstance(part, (int, float)) for part in item)


def _invalid(index: int, problem: str, hint: str) -> EdgecompError:
    return EdgecompError(
        Code.CALIBRATION_INVALID, f"calibration sample {index} {problem}", hint=hint
    )
