"""A recipe in memory, and as plain data."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from edgecomp.recipe.passes import RecipePass

HEADER = (
    "# What 'edgecomp build --recipe' and 'edgecomp quantize --recipe' do to each layer.\n"
)


@dataclasses.dataclass(frozen=True)
class Step:
    """One entry of a recipe.

    Attributes:
        kind: the pass.
        arguments: an instance of ``kind.arguments``.
        targets: names of nodes, ``re:`` and a regular expression of whole names, or types of
            operators; () for every node.
        ignore: targets that are left out again.
        place: ``file:line``, or what is known of it.
    """

    kind: RecipePass
    arguments: Any
    targets: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    place: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The entry as a file has it, without what is not given."""
        given = {
            name: value
            for name, value in dataclasses.asdict(self.arguments).items()
            if value is not None
        }
        parts = {"targets": list(self.targets), "ignore": list(self.ignore), "args": given}
        return {"pass": self.kind.name, **{k: v for k, v in parts.items() if v}}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Steps in order: where two say different things about a layer, the later one holds."""

    steps: tuple[Step, ...] = ()

    def as_list(self) -> list[dict[str, Any]]:
        """For JSON."""
        return [step.as_dict() for step in self.steps]

    def text(self, comments: Sequence[str] = ()) -> str:
        """YAML of it, with ``comments`` in front."""
        import yaml

        body = yaml.safe_dump(self.as_list(), sort_keys=False, width=95, allow_unicode=True)
        return HEADER + "".join(f"# {line}\n" for line in comments) + str(body)
