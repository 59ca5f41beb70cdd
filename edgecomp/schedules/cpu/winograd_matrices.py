"""Matrices of Winograd's convolution, from interpolation points (Toom-Cook, Lagrange form).

``m`` outputs of a filter of ``r`` taps come from ``n = m + r - 1`` products:

    y = A^T [(G g) * (B^T d)]          d: n inputs, g: r taps

The inputs, seen as polynomials' coefficients, are evaluated at n - 1 points and at infinity.
In two dimensions each matrix is applied to the rows and to the columns. Everything is exact
here (fractions); the points are such that A and B are exact in float32 too, and what is not (the
quotients of G) is applied to the weights in float64 when the model is built.

Points: the rounding error depends on them. Barabasz, Anderson, Soodhalter and Gregg, "Error
Analysis and Improving the Accuracy of Winograd Convolution for Deep Neural Networks" (ACM TOMS
46(4), 2020), choose them by experiment; Alam, Anderson, Barabasz and Gregg, "Winograd Convolution
for Deep Neural Networks: Efficient Point Selection" (ACM TECS 21(6), 2022), by pairs +-c whose
products cancel. Those of ``POINTS`` are the best pairs of small dyadic fractions found here.
"""

import dataclasses
import functools
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from edgecomp.plan.values import Array

#: Taps of the filters, in each dimension.
TAPS = 3

#: Outputs of a tile in each dimension -> points besides infinity. Signal to rounding noise of 64
#: channels of positive normal numbers, float32 against float64: 133 and 123 dB; the points 0,
#: +-1, +-2 that are common for 4 outputs give 117 dB.
POINTS: dict[int, tuple[Fraction, ...]] = {
    2: tuple(map(Fraction, (0, 1, -1))),
    4: tuple(map(Fraction, ("0", "5/8", "-5/8", "3/2", "-3/2"))),
}

Matrix = tuple[tuple[Fraction, ...], ...]


@dataclasses.dataclass(frozen=True)
class Winograd:
    """The matrices for one size of tiles.

    Attributes:
        outputs: m, in each dimension.
        inputs: n = m + 2.
        output_matrix: A^T [m, n].
        weight_matrix: G [n, 3].
        input_matrix: B^T [n, n].
    """

    outputs: int
    inputs: int
    output_matrix: Matrix
    weight_matrix: Matrix
    input_matrix: Matrix


@functools.cache
def winograd(outputs: int) -> Winograd:
    """The matrices for tiles of ``outputs`` x ``outputs``."""
    points = POINTS[outputs]
    inputs = outputs + TAPS - 1
    output_rows = [
        (*(point**power for point in points), Fraction(int(power == outputs - 1)))
        for power in range(outputs)
    ]
    weight_rows, input_rows = [], []
    for index, point in enumerate(points):
        others = points[:index] + points[index + 1 :]
        norm = Fraction(1)
        for other in others:
            norm *= point - other
        weight_rows.append(tuple(point**power / norm for power in range(TAPS)))
        input_rows.append((*_from_roots(others), Fraction(0)))
    weight_rows.append(tuple(Fraction(int(power == TAPS - 1)) for power in range(TAPS)))
    input_rows.append(_from_roots(points))
    return Winograd(outputs, inputs, tuple(output_rows), tuple(weight_rows), tuple(input_rows))


def transform_weights(weight: Array, matrices: Winograd) -> Array:
    """``G g G^T`` of every filter.

    Args:
        weight: float32 [M, C, 3, 3].
        matrices: of the tile.

    Returns:
        float32 [n * n, C, M], computed in float64.
    """
    g = np.array(matrices.weight_matrix, np.float64)
    columns, channels = weight.shape[:2]
    flat = weight.astype(np.float64).reshape(-1, TAPS, TAPS)
    transformed = (g @ flat @ g.T).reshape(columns, channels, -1)
    return np.ascontiguousarray(transformed.transpose(2, 1, 0), np.float32)


def _from_roots(roots: Sequence[Fraction]) -> tuple[Fraction, ...]:
    """Coefficients of the polynomial with these roots, the constant one first."""
    found = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *found]
        found = [
            high - root * low for high, low in zip(shifted, [*found, Fraction(0)], strict=True)
        ]
    return tuple(found)
