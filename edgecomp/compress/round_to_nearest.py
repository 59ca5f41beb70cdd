"""Every weight becomes the nearest number of its group: no data, and the control of all methods."""

import numpy as np

from edgecomp.compress.grid import Real, WeightForm, grids_of, packed
from edgecomp.graph.packed_weights import PackedWeights


def round_to_nearest(weight: Real, form: WeightForm) -> PackedWeights:
    """Store a finite matrix [K, N]."""
    block = form.block(len(weight))
    grids = grids_of(weight, form)
    parts = [
        grid.store(weight[index * block : (index + 1) * block])
        for index, grid in enumerate(grids)
    ]
    return packed(np.concatenate(parts), grids, form)
