"""A described ONNX graph as a torch module, for converters that start from torch.

``graph.json`` has the nodes in execution order, ``graph.npz`` the constants. ``forward`` runs the
nodes one by one; a trace of it holds plain torch operators only.
"""

import json
import pathlib
from typing import Any

import numpy as np

from edgecomp.bench.peers.torch_operators import OPERATORS


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
        constants = {name: torch.from_numpy(file[name]) for name in file.files}
    names = description["constants"]

    class Graph(torch.nn.Module):  # type: ignore[misc]
        """The nodes, one by one."""

        def __init__(self) -> None:
            super().__init__()
            for key, tensor in constants.items():
                self.register_buffer(key, tensor)

        def forward(self, *inputs: Any) -> Any:
            """Outputs in the graph's order; a tensor alone where there is one."""
            values: dict[str, Any] = dict(zip(description["inputs"], inputs, strict=True))
            values |= {name: getattr(self, key) for name, key in names.items()}
            for node in nodes:
                arguments = [values[name] if name else None for name in node["inputs"]]
                function = OPERATORS[node["operator"]]
                results = function(arguments, node["attributes"])
                results = results if isinstance(results, (tuple, list)) else [results]
                values.update(zip(node["outputs"], results, strict=False))
            found = tuple(values[name] for name in description["outputs"])
            return found if len(found) > 1 else found[0]

    return Graph().eval()
