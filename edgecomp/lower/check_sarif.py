"""A check as SARIF, which code hosts and editors show beside the line of the model.

Source: Static Analysis Results Interchange Format (SARIF) Version 2.1.0, OASIS Standard.
"""

import pathlib
import re
import urllib.parse
from typing import Any

import edgecomp
from edgecomp.lower.check_report import FALLBACK, IMPOSSIBLE, CheckReport, Problem

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
#: Status -> (level, what the rule is about).
_RULES = {
    IMPOSSIBLE: ("error", "The operator cannot be compiled for the target"),
    FALLBACK: ("warning", "The operator runs through the slow fallback on the target"),
}


def sarif(report: CheckReport, artifact: str) -> dict[str, Any]:
    """A SARIF log of all problems.

    Args:
        report: what was found.
        artifact: the model as the user gave it: the place of a problem whose Python line is
            not known.
    """
    rules = [
        {
            "id": f"edgecomp/{status}",
            "shortDescription": {"text": text},
            "defaultConfiguration": {"level": level},
        }
        for status, (level, text) in _RULES.items()
    ]
    driver = {"name": "edgecomp", "version": edgecomp.__version__, "rules": rules}
    run = {
        "tool": {"driver": driver},
        "results": [_result(problem, artifact) for problem in report.problems],
    }
    return {"version": "2.1.0", "$schema": _SCHEMA, "runs": [run]}


def _result(problem: Problem, artifact: str) -> dict[str, Any]:
    check = problem.check
    text = f"{check.operator} '{', '.join(check.nodes)}' on {', '.join(problem.targets)}"
    text += f" is {check.status}" if check.status == IMPOSSIBLE else " goes to the fallback"
    text += f": {check.detail}" if check.detail else ""
    text += f". What would help: {check.rewrite}" if check.rewrite else ""
    return {
        "ruleId": f"edgecomp/{check.status}",
        "ruleIndex": list(_RULES).index(check.status),
        "level": _RULES[check.status][0],
        "message": {"text": text},
        "locations": [
            {
                "physicalLocation": _place(check.source, artifact),
                "logicalLocations": [
                    {"name": node, "kind": "element"} for node in check.nodes
                ],
            }
        ],
        "properties": {
            "targets": list(problem.targets),
            "multiplyAdds": check.multiply_adds,
            "share": check.share,
        },
    }


def _place(source: str, artifact: str) -> dict[str, Any]:
    found = re.fullmatch(r"(.+):(\d+)", source)
    if found is None:
        return {"artifactLocation": {"uri": _uri(artifact)}}
    return {
        "artifactLocation": {"uri": _uri(found[1])},
        "region": {"startLine": int(found[2])},
    }


def _uri(path: str) -> str:
    """A relative reference, or a file's URI (RFC 3986)."""
    pure = pathlib.PurePath(path)
    return pure.as_uri() if pure.is_absolute() else urllib.parse.quote(pure.as_posix())
