"""Calibration samples from Python: iterables, functions, and other tools' readers.

Known without importing the tools: onnxruntime's CalibrationDataReader (``get_next``), NNCF's
Dataset (``get_inference_data``), torch data loaders with ``transform``, and LiteRT's
``{signature: [samples]}``.
"""

import importlib.util
import pathlib
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from edgecomp.errors import Code, EdgecompError
from edgecomp.user_files import without_byte_code

#: What a calibration script defines.
SCRIPT_FUNCTION = "get_calibration_data"


class ItemSource:
    """Items of a Python object, readable again where the object allows it.

    Args:
        source: an iterable, a function that returns one, or a reader of another tool.
        transform: applied to each item, None to take items as they are.
        path: script the object comes from, for messages.
    """

    def __init__(
        self,
        source: object,
        transform: Callable[[Any], Any] | None = None,
        path: pathlib.Path | None = None,
    ) -> None:
        self._source = source
        self._transform = transform
        self._path = path
        self._used_up = False
        self.total: int | None = None

    @property
    def rereadable(self) -> bool:
        """Whether a second iteration gives items, as far as can be told without one."""
        source = self._source
        if callable(getattr(source, "get_next", None)):
            return callable(getattr(source, "rewind", None))
        if callable(getattr(source, "get_inference_data", None)) or isinstance(
            source, Mapping
        ):
            return True
        return not isinstance(source, Iterator)

    def __iter__(self) -> Iterator[object]:
        try:
            for item in self._items(self._source):
                yield item if self._transform is None else self._transform(item)
        except EdgecompError:
            raise
        except (Exception, SystemExit) as error:  # anything can go wrong in user code
            raise EdgecompError(
                Code.CALIBRATION_INVALID,
                f"the calibration source failed: {type(error).__name__}: {error}",
                source=_user_line(error),
                path=str(self._path or ""),
            ) from error

    def _items(self, source: object) -> Iterable[object]:
        if callable(getattr(source, "get_next", None)):
            return self._reader_items(source)
        nncf_items = getattr(source, "get_inference_data", None)
        if callable(nncf_items):
            items: Iterable[object] = nncf_items()
            return items
        if isinstance(source, Mapping):
            return _signature_items(source)
        if not isinstance(source, Iterable) and callable(source):
            return self._items(source())
        if not isinstance(source, Iterable) or isinstance(source, (str, bytes)):
            raise EdgecompError(
                Code.CALIBRATION_INVALID,
                f"{type(source).__name__} is no source of calibration samples",
                hint="give an iterable of {input name: array}",
            )
        if iter(source) is source:
            self._use_up(source)
        return source

    def _reader_items(self, reader: Any) -> Iterator[object]:
        if self._used_up and callable(getattr(reader, "rewind", None)):
            reader.rewind()
        else:
            self._use_up(reader)
        self._used_up = True
        while (item := reader.get_next()) is not None:
            yield item

    def _use_up(self, source: object) -> None:
        """Note that an iterator is read; it gives nothing a second time."""
        if self._used_up and source is self._source:
            raise EdgecompError(
                Code.CALIBRATION_INVALID,
                "the calibration source can be read only once, and is needed again",
                hint="give a list, or a function that returns a new iterator",
            )
        self._used_up = True


def load_script(path: pathlib.Path) -> Callable[[], object]:
    """The calibration function of a Python file.

    Raises:
        EdgecompError: CALIBRATION_INVALID where the file fails or does not define it.
    """
    name = f"edgecomp_calibration_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        with without_byte_code():
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # anything can go wrong in user code
        raise EdgecompError(
            Code.CALIBRATION_INVALID,
            f"the script failed: {type(error).__name__}: {error}",
            source=_user_line(error),
            path=str(path),
        ) from error
    finally:
        sys.path.remove(folder)
    function = getattr(module, SCRIPT_FUNCTION, None)
    if not callable(function):
        raise EdgecompError(
            Code.CALIBRATION_INVALID,
            f"the script has no function {SCRIPT_FUNCTION}()",
            path=str(path),
            hint="it returns an iterable of {input name: array}",
        )
    return function  # type: ignore[no-any-return]


def _signature_items(signatures: Mapping[object, Any]) -> Iterable[object]:
    if len(signatures) != 1:
        names = ", ".join(map(str, signatures)) or "none"
        raise EdgecompError(
            Code.CALIBRATION_INVALID,
            f"expected the samples of one signature, found {names}",
            hint="give {'name': [samples]}, or the list of samples itself",
        )
    (samples,) = signatures.values()
    return samples  # type: ignore[no-any-return]


def _user_line(error: BaseException) -> str:
    """``file.py:line`` of the innermost frame of user code."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{pathlib.Path(error.filename).name}:{error.lineno}"
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<") and frame.filename != __file__
    ]
    return f"{pathlib.Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""
