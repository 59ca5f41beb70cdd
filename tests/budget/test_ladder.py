"""The ladder names what recipes can give layers, each once."""

import pathlib

from edgecomp.budget.ladder import LADDER
from edgecomp.recipe.passes import LAYER_PRECISIONS
from edgecomp.steps.beside import FAMILIES


def test_every_rung_is_a_precision_of_layers():
    names = [rung.precision for rung in LADDER]
    assert len(set(names)) == len(names)
    assert set(names) <= set(LAYER_PRECISIONS) - {"fp32", "w8a8"}
    beside = {precision for family in FAMILIES for precision in family.precisions}
    assert {rung.precision for rung in LADDER if not rung.is_static} == beside & set(names)


def test_the_page_names_every_rung():
    page = (pathlib.Path(__file__).parents[2] / "docs" / "budgets.md").read_text()
    assert [rung.precision for rung in LADDER if f"`{rung.precision}`" not in page] == []
