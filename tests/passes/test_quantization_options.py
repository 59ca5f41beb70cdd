"""What the user leaves to quantization."""

import pytest
from helpers.quantized import check_meaning, integer_types, network, quantized

from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.integer_operators import (
    IntegerProduct,
)
from edgecomp.graph.qdq import recognize
from edgecomp.passes.quantization_options import InsertQdqOptions, check_options


def test_excluded_nodes_stay_float(rng):
    model = network(rng)
    convolutions = [n.name for n in model.graph if n.op_type == "Conv"]
    result, each = quantized(model, nodes_to_exclude=(convolutions[1],))
    assert integer_types(result)[1].count("Conv") == 1
    assert each.refusals[convolutions[1]] == "it is excluded by name"
    check_meaning(model, result)
    pattern = "re:" + "|".join(convolutions)
    result, _ = quantized(model, nodes_to_exclude=(pattern,))
    assert integer_types(result)[1].count("Conv") == 3


def test_only_some_operators(rng):
    model = network(rng)
    result, _ = quantized(model, op_types_to_quantize=("Conv",))
    assert integer_types(result)[0] == ["Conv"] * 3
    check_meaning(model, result)


def test_one_scale_per_weight_tensor(rng):
    model = network(rng)
    result, _ = quantized(model, per_channel=False)
    products = [s for s in recognize(result.graph).steps if isinstance(s, IntegerProduct)]
    assert len(products) == 4
    assert all(p.multiplier.shape == (1,) for p in products)
    check_meaning(model, result, least_db=20)


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"nodes_to_exclude": ("n00",)}, "n0"),
        ({"nodes_to_exclude": ("re:nothing",)}, ""),
        ({"nodes_to_exclude": ("re:(",)}, ""),
        ({"op_types_to_quantize": ("Convv",)}, "Conv"),
    ],
)
def test_options_that_name_nothing(rng, options, hint):
    with pytest.raises(EdgecompError) as caught:
        check_options(network(rng), InsertQdqOptions(**options))
    assert caught.value.code is Code.USAGE
    assert hint in caught.value.hint
