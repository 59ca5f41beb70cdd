"""GPTQ: round the weights of one input after the other, and let the others make up for it.

    minimize ||X W - X Q||^2 over stored Q, for inputs X [n, K] and weights W [K, N]

Only ``H = X^T X`` counts. When row k of W is rounded, the rows that are still free move by
``-U[k, j] / U[k, k] * error``, where U is upper triangular with ``H^-1 = U^T U``: what is best for
them by least squares, whatever is rounded later (Frantar, Ashkboos, Hoefler, Alistarh, "GPTQ:
Accurate Post-Training Quantization for Generative Pre-trained Transformers", 2023, section 3 and
algorithm 1). Rows are taken in the order of falling ``H[k, k]``, the heaviest first, with scales
of groups that are chosen before from the weights as trained, so that groups stay neighbours in K.

``H`` gets a hundredth of its mean diagonal added to the diagonal, and an input that was always
zero, of which the data says nothing, is rounded to nearest.
"""

import numpy as np
import scipy.linalg

from edgecomp.compress.grid import Grid, Numbers, Real, WeightForm, grids_of, packed
from edgecomp.graph.packed_weights import PackedWeights

#: Rows whose corrections are applied to the rows behind them together.
_BLOCK_ROWS = 128
#: Part of the mean diagonal that is added to the diagonal, and the most where it takes more.
_DAMPING, _MOST_DAMPING = 0.01, 1e3


def gptq(weight: Real, hessian: Real, form: WeightForm) -> PackedWeights:
    """Store a finite matrix [K, N] for inputs with ``hessian = X^T X`` [K, K], or a multiple."""
    order = np.argsort(-np.diag(hessian), kind="stable")
    factor = _inverse_factor(hessian[np.ix_(order, order)], _DAMPING)
    # An error of a weight counts as much as its input's power, before others make up for it.
    rounding = _Rounding(weight, grids_of(weight, form, _importance(hessian)), form, order)
    rounding.run(factor)
    return packed(rounding.numbers, rounding.grids, form)


def output_error(weight: Real, stored: PackedWeights, hessian: Real) -> float:
    """``||X W - X Q||^2 / ||X W||^2``; 0 where the product is zero."""
    difference = weight - stored.real().astype(np.float64)
    whole = float(np.einsum("kn,kn->", weight, hessian @ weight))
    lost = float(np.einsum("kn,kn->", difference, hessian @ difference))
    return max(0.0, lost) / whole if whole > 0 else 0.0


def _inverse_factor(hessian: Real, damping: float) -> Real:
    """Upper triangular U with ``H^-1 = U^T U``, of the damped H."""
    diagonal = np.diag(hessian)
    unseen = diagonal <= 0
    mean = float(diagonal.mean()) or 1.0
    while True:
        damped = hessian + np.diag(np.where(unseen, mean, damping * mean))
        try:
            # J H J = L L^T with J the reversal gives H = V V^T for the upper V = J L J, and
            # H^-1 = V^-T V^-1: U is V^-1.
            lower = scipy.linalg.cholesky(damped[::-1, ::-1], lower=True)
            upper = np.ascontiguousarray(lower[::-1, ::-1])
            inverse: Real = scipy.linalg.solve_triangular(upper, np.eye(len(upper)))
        except np.linalg.LinAlgError:
            damping = max(10 * damping, 1e-6)
            if damping > _MOST_DAMPING:
                raise
            continue
        return inverse


def _importance(hessian: Real) -> Real:
    """Of each input: its power; at least a little, as the data may not have it."""
    power = np.diag(hessian)
    mean = float(power.mean())
    return np.maximum(power, _DAMPING * mean) / mean if mean > 0 else np.ones_like(power)


class _Rounding:
    """One matrix on its way."""

    def __init__(
        self, weight: Real, grids: list[Grid], form: WeightForm, order: np.ndarray
    ) -> None:
        self.order = order
        self.block = form.block(len(weight))
        self.left = weight[order]
        self.numbers: Numbers = np.zeros(weight.shape, np.uint8)
        self.grids = grids

    def run(self, factor: Real) -> None:
        """Round all rows; ``factor`` is in the order of rows."""
        depth = len(self.left)
        for first in range(0, depth, _BLOCK_ROWS):
            end = min(first + _BLOCK_ROWS, depth)
            errors = self._block(factor, first, end)
            self.left[end:] -= factor[first:end, end:].T @ errors

    def _block(self, factor: Real, first: int, end: int) -> Real:
        """Round some rows; their errors, each over its diagonal element."""
        errors = np.empty((end - first, self.left.shape[1]))
        for row in range(first, end):
            target = int(self.order[row])
            grid = self.grids[target // self.block]
            self.numbers[target] = grid.store(self.left[row])
            error = (self.left[row] - grid.real(self.numbers[target])) / factor[row, row]
            self.left[row + 1 : end] -= factor[row, row + 1 : end, None] * error
            errors[row - first] = error
        return errors
