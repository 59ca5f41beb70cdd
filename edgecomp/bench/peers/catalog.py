"""The runtimes that are known, in one list."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Entry:
    """Where a runtime comes from.

    Attributes:
        module: of this package.
        pip: what to install for it, conversion included.
        runs: packages that running imports.
        converts: packages that conversion imports besides.
        starts_from_torch: whether its converter does, so that ``graph.json`` is needed.
    """

    module: str
    pip: str
    runs: tuple[str, ...]
    converts: tuple[str, ...] = ()
    starts_from_torch: bool = False


#: Name -> where it comes from.
CATALOG = {
    "onnxruntime": Entry("onnxruntime", "onnxruntime", ("onnxruntime",)),
    "openvino": Entry("openvino", "openvino nncf", ("openvino",)),
    "litert": Entry(
        "litert",
        "ai-edge-litert litert-torch",
        ("ai_edge_litert",),
        ("torch", "litert_torch"),
        starts_from_torch=True,
    ),
    "executorch": Entry(
        "executorch", "executorch", ("torch", "executorch"), starts_from_torch=True
    ),
    "ncnn": Entry(
        "ncnn", "ncnn pnnx torch", ("ncnn",), ("pnnx", "torch"), starts_from_torch=True
    ),
    "mnn": Entry("mnn", "MNN", ("MNN",)),
}
