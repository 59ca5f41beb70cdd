"""Golden vectors against what a device computes."""

import dataclasses

import ml_dtypes
import numpy as np
import numpy.typing as npt

from edgecomp.bench.device import Device
from edgecomp.bench.files import BundleFiles
from edgecomp.errors import Code, EdgecompError
from edgecomp.plan.values import Array

#: docs/numerics.md, "Tolerances": float models, of the output's range.
RANGE_TOLERANCE = 1e-4
#: docs/numerics.md, "Tolerances": float kernels, of the largest magnitude.
MAGNITUDE_TOLERANCE = 2e-5


@dataclasses.dataclass(frozen=True)
class OutputCheck:
    """One output of one golden vector.

    Attributes:
        vector: index of the golden vector.
        output: name.
        largest_difference: magnitude.
        tolerance: what it was held to; 0 for integers.
    """

    vector: int
    output: str
    largest_difference: float
    tolerance: float


def verify(
    bundle: BundleFiles, device: Device, *, threads: int = 1, plan: str = "auto"
) -> list[OutputCheck]:
    """Run every golden vector and compare.

    Raises:
        EdgecompError: NUMERIC_MISMATCH with the first element that differs, BUNDLE_INVALID
            when the bundle has no golden vectors, or what the device raises.
    """
    if not bundle.golden:
        raise EdgecompError(
            Code.BUNDLE_INVALID,
            "the bundle has no golden vectors to verify",
            path=str(bundle.directory),
            hint="build it again with calibration data or sample inputs",
        )
    checks = []
    for index, vector in enumerate(bundle.golden):
        found = device.run(bundle, vector.inputs, threads=threads, plan=plan)
        for name, expected in vector.outputs.items():
            spread = vector.spread.get(name, 0.0)
            checks.append(
                check_output(index, name, expected, found[name], str(device), spread)
            )
    return checks


def tolerance_of(expected: Array) -> float:
    """Largest difference allowed: 0 for integers, else by range and magnitude of the output.

    It is never less than the last place of the dtype at that magnitude.
    """
    if not _is_float(expected):
        return 0.0
    values = expected.astype(np.float64)
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0
    magnitude = float(np.abs(values).max())
    last_place = _epsilon(expected) * magnitude
    span = float(values.max() - values.min())
    return max(RANGE_TOLERANCE * span, MAGNITUDE_TOLERANCE * magnitude, last_place)


def check_output(
    vector: int, name: str, expected: Array, found: Array, device: str, spread: float = 0.0
) -> OutputCheck:
    """Compare one output.

    Args:
        vector: index of the golden vector.
        name: of the output.
        expected: by the golden vector.
        found: by the device.
        device: for the message.
        spread: what rounding of float values that are quantized may do; see docs/numerics.md.

    Raises:
        EdgecompError: NUMERIC_MISMATCH with the first index, both numbers and the size of the
            largest difference.
    """
    if found.shape != expected.shape:
        raise EdgecompError(
            Code.NUMERIC_MISMATCH,
            f"output '{name}' of golden vector {vector} is {list(found.shape)} on {device} "
            f"instead of {list(expected.shape)}",
            node=name,
            hint="find the first layer that differs with 'edgecomp debug'",
        )
    tolerance = max(tolerance_of(expected), spread)
    difference = _difference(expected, found)
    if difference.size and difference.max() > tolerance:
        wrong = difference > tolerance
        first = tuple(int(i) for i in np.unravel_index(int(wrong.argmax()), wrong.shape))
        limit = f"at most {tolerance:.3g}" if tolerance else "equality"
        raise EdgecompError(
            Code.NUMERIC_MISMATCH,
            f"output '{name}' of golden vector {vector} differs on {device}: at {list(first)} "
            f"it is {found[first]} instead of {expected[first]}; {int(wrong.sum())} of "
            f"{wrong.size} elements differ, by up to {float(difference.max()):.6g}, where "
            f"{limit} is allowed",
            node=name,
            hint="find the first layer that differs with 'edgecomp debug'",
        )
    largest = float(difference.max()) if difference.size else 0.0
    return OutputCheck(vector, name, largest, tolerance)


def _difference(expected: Array, found: Array) -> npt.NDArray[np.float64]:
    """Magnitudes in float64; a NaN or infinity on one side only counts as infinitely far.

    Integers that differ are at least 1 apart, also where float64 cannot tell them apart.
    """
    a, b = expected.astype(np.float64), found.astype(np.float64)
    same = (expected == found) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        difference = np.abs(a - b)
    if not _is_float(expected):
        difference = np.maximum(difference, 1.0)
    difference = np.where(np.isnan(difference), np.inf, difference)
    return np.where(same, 0.0, difference)


def _is_float(array: Array) -> bool:
    return array.dtype.kind not in "iub" and "int" not in array.dtype.name


def _epsilon(array: Array) -> float:
    return float(ml_dtypes.finfo(array.dtype).eps)  # type: ignore[no-untyped-call]
