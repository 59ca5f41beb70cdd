"""Small QDQ graphs: stored inputs, weights, biases and results around float operators."""

import numpy as np

from helpers.graphs import Graph


class QdqGraph(Graph):
    """``g = QdqGraph(); x = g.stored("x", (1, 3, 8, 8), 0.1, 7); y = g.quantize(g(...), ...)``."""

    def stored(self, name, shape, scale, zero_point, dtype=np.uint8):
        """A stored graph input, dequantized."""
        return self.dequantize(self.input(name, shape, dtype), scale, zero_point, dtype)

    def dequantize(self, stored, scale, zero_point, dtype=np.uint8, **attributes):
        zero = np.asarray(zero_point, dtype)
        return self(
            "DequantizeLinear", stored, np.asarray(scale, np.float32), zero, **attributes
        )

    def quantize(self, real, scale, zero_point, dtype=np.uint8):
        zero = np.asarray(zero_point, dtype)
        return self("QuantizeLinear", real, np.asarray(scale, np.float32), zero)

    def weight(self, array, scale, axis=None):
        """int8 weights, dequantized: one scale, or one per index of ``axis``."""
        attributes = {} if axis is None else {"axis": axis}
        zero = np.zeros(np.shape(scale), np.int8)
        return self.dequantize(
            self.constant(array.astype(np.int8)), scale, zero, np.int8, **attributes
        )

    def bias(self, array, scale):
        """int32 bias, dequantized without a zero point."""
        attributes = {"axis": 0} if np.ndim(scale) else {}
        stored = self.constant(np.asarray(array, np.int32))
        return self("DequantizeLinear", stored, np.asarray(scale, np.float32), **attributes)


def stored_numbers(rng, shape, dtype=np.uint8):
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max + 1, shape).astype(dtype)


def weights(rng, *shape):
    return rng.integers(-127, 128, shape).astype(np.int8)
