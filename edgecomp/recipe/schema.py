"""JSON Schema of recipes, from the list of passes."""

import dataclasses
import typing
from typing import Any

from edgecomp.recipe.passes import PASSES, ArgumentFacts, RecipePass, arguments_of
from edgecomp.recipe.read import LIST_KEY

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TYPES = {str: "string", bool: "boolean", float: "number", int: "integer"}


def recipe_schema() -> dict[str, Any]:
    """The schema of a recipe file."""
    steps = {"type": "array", "items": {"anyOf": [_step(kind) for kind in PASSES]}}
    table = {
        "type": "object",
        "properties": {LIST_KEY: {"$ref": "#/$defs/steps"}},
        "required": [LIST_KEY],
        "additionalProperties": False,
    }
    names = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    return {
        "$schema": _DIALECT,
        "title": "edgecomp recipe",
        "description": "What is done to which layer; docs/recipes.md explains it.",
        "anyOf": [{"$ref": "#/$defs/steps"}, table],
        "$defs": {"steps": steps, "names": names},
    }


def _step(kind: RecipePass) -> dict[str, Any]:
    return {
        "type": "object",
        "description": kind.help,
        "properties": {
            "pass": {"const": kind.name},
            "targets": {
                "$ref": "#/$defs/names",
                "description": "names of nodes, re: and a regular expression, or operator "
                "types; every node where it is left out",
            },
            "ignore": {"$ref": "#/$defs/names", "description": "targets that are left out"},
            "args": {
                "type": "object",
                "properties": {f.name: _argument(kind, f, a) for f, a in arguments_of(kind)},
                "additionalProperties": False,
            },
        },
        "required": ["pass"],
        "additionalProperties": False,
    }


def _argument(
    kind: RecipePass, field: "dataclasses.Field[Any]", facts: ArgumentFacts
) -> dict[str, Any]:
    hint = typing.get_type_hints(kind.arguments)[field.name]
    (plain,) = (a for a in typing.get_args(hint) if a is not type(None))
    schema: dict[str, Any] = {"type": _TYPES[plain], "description": facts.help}
    if facts.choices:
        schema["enum"] = [n for name, more in facts.choices.items() for n in (name, *more)]
    if facts.above is not None:
        schema["exclusiveMinimum"] = facts.above
    if facts.least is not None:
        schema["minimum"] = facts.least
    if facts.most is not None:
        schema["maximum"] = facts.most
    return schema
