"""The published schema is that of the list of passes, and agrees with the reader."""

import json
import pathlib

from edgecomp.recipe.passes import PASSES
from edgecomp.recipe.schema import recipe_schema

SCHEMA = pathlib.Path(__file__).parents[2] / "docs" / "recipe.schema.json"


def test_the_published_schema_is_up_to_date():
    assert json.loads(SCHEMA.read_text()) == recipe_schema(), "run 'python docs/generate.py'"


def test_every_pass_and_argument_is_there():
    steps = recipe_schema()["$defs"]["steps"]["items"]["anyOf"]
    assert [s["properties"]["pass"]["const"] for s in steps] == [p.name for p in PASSES]
    quantize = steps[0]["properties"]["args"]["properties"]
    assert quantize["calibration_method"]["enum"][:2] == ["minmax", "percentile"]
    assert quantize["calibration_percentile"]["exclusiveMinimum"] == 50
    assert quantize["per_channel"]["type"] == "boolean"
