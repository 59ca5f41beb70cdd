"""Models are priced as the build that follows chooses kernels."""

import pytest
from helpers.graphs import Graph, normal

from edgecomp.device.load import load_target
from edgecomp.options import BudgetOptions, BuildOptions
from edgecomp.steps.budget_prices import Pricing


@pytest.fixture
def model(rng):
    g = Graph()
    x = g.input("x", (1, 64, 28, 28))
    return g.model(g("Conv", x, normal(rng, 64, 64, 3, 3), name="c", pads=[1] * 4))


def test_a_method_that_the_build_leaves_out_has_no_price(model):
    target = load_target("raspberry-pi-4")
    with_it, without = (
        sum(price.modelled for price in Pricing.of(target, options).prices(model))
        for options in (BuildOptions(), BuildOptions(winograd=False))
    )
    assert with_it < 0.8 * without


def test_nothing_has_a_price_without_a_target(model):
    assert Pricing.of(None, BudgetOptions()).prices(model) == []
