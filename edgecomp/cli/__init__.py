"""The command line: one file per verb, thin over ``edgecomp.api``.

Nothing heavy is imported before a verb needs it.
"""

from edgecomp.cli.program import main

__all__ = ["main"]
