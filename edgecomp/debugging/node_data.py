"""The layers' figures as node data of Model Explorer, which colours a model's graph by them.

One file holds one number per node, keyed by the names of what the node computes
(https://github.com/google-ai-edge/model-explorer/wiki/4.-API-Guide, ``GraphNodeData``).
"""

import json
import math

from edgecomp.debugging.result import DebugReport

#: From what loses most to what loses nothing.
_GRADIENT = ((0.0, "#d73027"), (0.5, "#fee08b"), (1.0, "#1a9850"))
#: Where nothing differs there is no ratio.
_MOST_DB = 100.0


def node_data(report: DebugReport) -> str:
    """SQNR of every layer alone, in dB."""
    results = {
        output: {"value": _shown(each.alone.sqnr_db)}
        for each in sorted(report.layers, key=lambda each: each.place)
        for output in each.layer.outputs
    }
    gradient = [{"stop": stop, "bgColor": colour} for stop, colour in _GRADIENT]
    return json.dumps({"results": results, "gradient": gradient}, indent=2) + "\n"


def _shown(db: float) -> float:
    return round(max(-_MOST_DB, min(_MOST_DB, db)), 3) if not math.isnan(db) else -_MOST_DB
