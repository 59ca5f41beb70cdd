"""A described ONNX graph as a torch module, for converters that start from torch.

``graph.json`` has the nodes in execution order, ``graph.npz`` the constants. ``forward`` runs the
nodes one by one; a trace of it holds plain torch operators only.
"""

import json
import pathlib
from typing import Any

import numpy as np

from edgecomp.bench.peers.torch_operators import OPERATORS, STATIC


def load_graph(folder: pathlib.Path) -> Any:
    """The module, in eval mode.

    Raises:
        NotImplementedError: naming the operators that are not known here.
    """
    import torch

    description = json.loads((folder / "graph.json").read_text())
    nodes = description["nodes"]
    unknown = sorted({node["operator"] for node in nodes} - set(OPERATORS))
    if unknown:
        raise NotImplementedError(f"no torch form of {', '.join(unknown)} is known here")
    with np.load(folder / "graph.npz", allow_pickle=False) as file:
        arrays = {name: file[key] for name, key in description["constants"].items()}
    for node in nodes:
        _take_static(node, arrays)
    used = {name for node in nodes for name in node["inputs"]}
    constants = {name: array for name, array in arrays.items() if name in used}

    class Graph(torch.nn.Module):  # type: ignore[misc]
        """The nodes, one by one."""

        def __init__(self) -> None:
            super().__init__()
            for index, array in enumerate(constants.values()):
                self.register_buffer(f"c{index}", torch.from_numpy(array))

        def forward(self, *inputs: Any) -> Any:
            """Outputs in the graph's order; a tensor alone where there is one."""
            values: dict[str, Any] = dict(zip(description["inputs"], inputs, strict=True))
            values |= {name: getattr(self, f"c{i}") for i, name in enumerate(constants)}
            for node in nodes:
                arguments = [values[name] if name else None for name in node["inputs"]]
                for index, array in node["static"].items():
                    arguments[index] = array
                function = OPERATORS[node["operator"]]
                results = function(arguments, node["attributes"])
                results = results if isinstance(results, (tuple, list)) else [results]
                values.update(zip(node["outputs"], results, strict=False))
            found = tuple(values[name] for name in description["outputs"])
            return found if len(found) > 1 else found[0]

    return Graph().eval()


def _take_static(node: dict[str, Any], arrays: dict[str, Any]) -> None:
    """Move the inputs that shape the result out of the node's tensors."""
    node["static"] = {}
    for index in STATIC.get(node["operator"], ()):
        name = node["inputs"][index] if index < len(node["inputs"]) else ""
        if not name:
            continue
        if name not in arrays:
            raise NotImplementedError(f"{node['operator']} whose input {index} is computed")
        node["static"][index] = arrays[name]
        node["inputs"][index] = ""
