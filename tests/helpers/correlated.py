"""Inputs of layers that correlate, as those of real ones do."""


def correlated(rng, samples, depth):
    """Inputs [samples, depth] of which most lies in a third of the dimensions."""
    shared = rng.standard_normal((samples, max(1, depth // 3)))
    mixed = shared @ rng.standard_normal((max(1, depth // 3), depth))
    return mixed + 0.3 * rng.standard_normal((samples, depth)) + rng.standard_normal(depth)
