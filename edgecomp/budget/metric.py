"""The user's function that says how good a model is.

    def accuracy(run, data):
        right = [run(image)["logits"].argmax() == label for image, label in my_samples()]
        return float(np.mean(right))

``run`` computes one inference: see ``ModelRun``. ``data`` are the calibration samples as the model
takes them, for functions that need no labels of their own; a function of one parameter gets none.
What is returned is a number, or a tuple that begins with one. What each sample adds to it may come
second, as an array or a list: how sure a difference of two models is can be told then.
"""

import contextlib
import dataclasses
import inspect
import math
import pathlib
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecomp.errors import Code, EdgecompError, nearest_hint
from edgecomp.graph.constants import AnyArray
from edgecomp.user_files import import_file

_FORM = (
    "the function takes run, or run and data; run({input: array}) gives {output: array}; it "
    "returns a number (docs/budgets.md)"
)
#: Lines of a traceback that are shown: those of the user's own code.
_MOST_FRAMES = 6

Outputs = Mapping[str, AnyArray]
Function = Callable[..., Any]


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a function found of one model.

    Attributes:
        value: the number.
        scores: of each sample; None where the function returned none.
    """

    value: float
    scores: npt.NDArray[np.float64] | None = None


class ModelRun:
    """A model as metric functions see it; ``run(...)`` and onnxruntime's ``run.run(...)``.

    Args:
        compute: feeds -> outputs by name.
        inputs: name -> shape and dtype, in the order of the model.
        outputs: names.
    """

    def __init__(
        self,
        compute: Callable[[Mapping[str, AnyArray]], Outputs],
        inputs: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]],
        outputs: Sequence[str],
    ) -> None:
        self._compute = compute
        self._inputs = dict(inputs)
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)

    def __call__(self, *arrays: Any, **named: Any) -> dict[str, AnyArray]:
        """One inference.

        Args:
            arrays: {input name: array}, or the arrays in the order of the inputs.
            named: arrays by the input's name.

        Returns:
            Output name -> array.
        """
        if len(arrays) == 1 and isinstance(arrays[0], Mapping):
            given = {**arrays[0], **named}
        else:
            given = {**dict(zip(self.inputs, arrays, strict=False)), **named}
            if len(arrays) > len(self.inputs):
                raise _mismatch(f"{len(arrays)} arrays for {len(self.inputs)} inputs")
        unknown = [name for name in given if name not in self._inputs]
        missing = [name for name in self.inputs if name not in given]
        if unknown or missing:
            raise _mismatch(
                f"no input is named '{unknown[0]}'"
                if unknown
                else f"input '{missing[0]}' is missing",
                f"the inputs are {', '.join(self.inputs)}",
            )
        found = self._compute({name: self._fitting(name, given[name]) for name in self.inputs})
        return {name: found[name] for name in self.outputs}

    def run(self, output_names: Sequence[str] | None, feeds: Mapping[str, Any]) -> list[Any]:
        """As ``onnxruntime.InferenceSession.run``."""
        found = self(feeds)
        return [found[name] for name in output_names or self.outputs]

    def _fitting(self, name: str, given: Any) -> AnyArray:
        """The array as the model takes it: numpy makes float64 where nothing is said."""
        shape, dtype = self._inputs[name]
        array = np.asarray(given)
        if array.dtype != dtype and not np.can_cast(array.dtype, dtype, "same_kind"):
            raise _mismatch(f"input '{name}' takes {dtype}, not {array.dtype}")
        if array.shape != shape and array.size == math.prod(shape):
            # Only dimensions of 1 may be left out or added.
            kept = [[n for n in each if n != 1] for each in (array.shape, shape)]
            array = array.reshape(shape) if kept[0] == kept[1] else array
        if array.shape != shape:
            raise _mismatch(f"input '{name}' takes {list(shape)}, not {list(array.shape)}")
        return np.ascontiguousarray(array, dtype)


class Metric:
    """A function of a user's file.

    Args:
        spec: ``file.py:function``.

    Raises:
        EdgecompError: METRIC_INVALID, FILE_MISSING or USAGE.
    """

    def __init__(self, spec: str) -> None:
        self._path, self._function = _load(spec)
        self._name = spec.rpartition(":")[2]
        self._takes_data = _parameters(self._function) > 1

    def __call__(
        self,
        run: ModelRun,
        data: Iterable[Mapping[str, AnyArray]],
        what: str = "the float model",
    ) -> Measured:
        """Measure a model.

        Args:
            run: computes it.
            data: for functions of two parameters.
            what: it is, for messages.

        Raises:
            EdgecompError: METRIC_INVALID where the function raises or returns no number.
        """
        try:
            found = self._function(run, *([data] if self._takes_data else []))
        except (Exception, SystemExit) as error:  # anything can go wrong in user code
            raise self._raised(error, what) from error
        value = found[0] if isinstance(found, tuple) and found else found
        item = getattr(value, "item", None)
        if callable(item):  # numbers of numpy and torch; it raises where there are several
            with contextlib.suppress(Exception):
                value = item()
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self._invalid(
                f"{self._name}() returned {_described(found)} for {what}, not a number",
                hint=_FORM,
            )
        if not math.isfinite(value):
            raise self._invalid(
                f"{self._name}() returned {value} for {what}",
                hint="return a finite number; look for divisions by zero and empty data",
            )
        return Measured(float(value), _scores(found))

    def _raised(self, error: BaseException, what: str) -> EdgecompError:
        frames = [
            frame
            for frame in traceback.extract_tb(error.__traceback__)
            if frame.filename != __file__
        ][-_MOST_FRAMES:]
        own = [f for f in frames if pathlib.Path(f.filename) == self._path.resolve()]
        last = next(iter(reversed(own or frames)), None)
        cause = error.cause if isinstance(error, EdgecompError) else str(error)
        lines = [
            f"{self._name}() failed on {what}: {type(error).__name__}: {cause}",
            *(line for f in traceback.format_list(frames) for line in f.splitlines()),
        ]
        return self._invalid(
            "\n".join(lines),
            source=f"{pathlib.Path(last.filename).name}:{last.lineno}" if last else "",
            hint=error.hint if isinstance(error, EdgecompError) else _FORM,
        )

    def _invalid(self, cause: str, *, source: str = "", hint: str = "") -> EdgecompError:
        return EdgecompError(
            Code.METRIC_INVALID, cause, source=source, path=str(self._path), hint=hint
        )


def _scores(found: Any) -> npt.NDArray[np.float64] | None:
    """The second part of what a function returned, where it is a finite number for each sample."""
    if not isinstance(found, tuple) or len(found) < 2:
        return None
    try:
        scores = np.asarray(found[1], np.float64)
    except (TypeError, ValueError):  # what else the function tells is its own
        return None
    return scores if scores.ndim == 1 and np.isfinite(scores).all() else None


def _load(spec: str) -> tuple[pathlib.Path, Function]:
    place, colon, name = spec.rpartition(":")
    path = pathlib.Path(place)
    if not colon or path.suffix != ".py" or not name.isidentifier():
        raise EdgecompError(
            Code.USAGE,
            f"--metric: '{spec}' names no function",
            hint="the form is FILE.py:FUNCTION",
        )
    if not path.is_file():
        raise EdgecompError(Code.FILE_MISSING, "no such file", path=str(path), hint=_FORM)
    module = _imported(path)
    function = getattr(module, name, None)
    if not callable(function):
        known = [k for k, v in vars(module).items() if inspect.isfunction(v) and k[0] != "_"]
        raise EdgecompError(
            Code.METRIC_INVALID,
            f"the file has no function '{name}'",
            path=str(path),
            hint=nearest_hint(name, known) if known else _FORM,
        )
    return path, function


def _imported(path: pathlib.Path) -> Any:
    try:
        return import_file(path, f"edgecomp_metric_{path.stem}")
    except (Exception, SystemExit) as error:  # anything can go wrong in user code
        lines = traceback.format_exception_only(error)
        raise EdgecompError(
            Code.METRIC_INVALID,
            "\n".join(["the script failed:", *"".join(lines).splitlines()]),
            source=_line(error, path),
            path=str(path),
            hint="run the file with Python alone first",
        ) from error


def _line(error: BaseException, path: pathlib.Path) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f"{pathlib.Path(error.filename).name}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if pathlib.Path(f.filename) == path.resolve()]
    return f"{path.name}:{own[-1].lineno}" if own else ""


def _parameters(function: Function) -> int:
    """How many positional arguments it takes, as far as can be told."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 1
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters):
        return 2
    named = [p for p in parameters if p.kind in positional]
    needed = [p for p in named if p.default is inspect.Parameter.empty]
    # A second one with a default is the user's own, unless it is called data.
    return 2 if len(needed) > 1 or "data" in [p.name for p in named[1:]] else 1


def _described(value: Any) -> str:
    if value is None:
        return "None"
    shape = getattr(value, "shape", None)
    return f"{type(value).__name__}" + (f" of shape {list(shape)}" if shape else "")


def _mismatch(cause: str, hint: str = "") -> EdgecompError:
    return EdgecompError(Code.INPUT_MISMATCH, cause, hint=hint or _FORM)
