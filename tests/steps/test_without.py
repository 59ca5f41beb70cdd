"""Which schedules options leave out."""

from edgecomp.options import BuildOptions, QuantizeOptions
from edgecomp.schedules.cpu import paired_product, winograd
from edgecomp.schedules.gpu import winograd as gpu_winograd
from edgecomp.steps.without import left_out


def test_without_winograd_no_product_has_pairs():
    names = left_out(BuildOptions(winograd=False))
    assert {winograd.NAME, paired_product.NAME} < set(names)
    assert any(gpu_winograd.NAME in name for name in names)


def test_nothing_is_left_out_by_default():
    assert left_out(BuildOptions()) == ()
    assert left_out(QuantizeOptions()) == ()
