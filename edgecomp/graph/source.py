"""Where a node came from: the line of the user's Python code, kept through every rewrite.

The line is a metadata property of the node, so that it is part of the ONNX file. Exporters write
whole stack traces; ``normalize_sources`` reduces them to the user's innermost line and the
module path once, at the door.
"""

import re
from collections.abc import Iterable

import onnx_ir as ir

#: ``file.py:line`` of the user's innermost line.
SOURCE_KEY = "edgecomp.source"
#: Dotted path of the torch module the node belongs to (``features.3.conv``).
MODULE_KEY = "edgecomp.module"

_STACK_TRACE_KEYS = ("pkg.torch.onnx.stack_trace", "pkg.torch.export.stack_trace")
_NAME_SCOPES_KEY = "pkg.torch.onnx.name_scopes"
_FRAME = re.compile(r'File "([^"]+)", line (\d+)')
# Frames of the framework itself; what its layers do is not the user's line.
_FRAMEWORK = re.compile(r"(^|[\\/])(torch|torchvision|onnxscript|torch_onnx)[\\/]|^<")
_PACKAGE_FOLDERS = ("site-packages", "dist-packages")
_DROPPED_PREFIXES = ("pkg.torch", "pkg.onnxscript", "namespace")


def source_of(node: ir.Node) -> str:
    """``file.py:line`` the node came from, or "" when nothing is known."""
    known = node.metadata_props.get(SOURCE_KEY)
    if known is not None:
        return known
    for key in _STACK_TRACE_KEYS:
        if key in node.metadata_props:
            return innermost_user_line(node.metadata_props[key])
    return ""


def module_of(node: ir.Node) -> str:
    """Dotted path of the torch module the node belongs to, or ""."""
    known = node.metadata_props.get(MODULE_KEY)
    if known is not None:
        return known
    scopes = re.findall(r"'([^']*)'", node.metadata_props.get(_NAME_SCOPES_KEY, ""))
    # The last scope is the operation's own name.
    return scopes[-2] if len(scopes) > 1 else ""


def copy_source(origin: ir.Node | Iterable[ir.Node], to: ir.Node) -> None:
    """Give ``to`` the source of ``origin`` (of the first one that has a source), if it has none.

    Args:
        origin: the node, or nodes in order of importance, that ``to`` stands for.
        to: the new node.
    """
    origins = [origin] if isinstance(origin, ir.Node) else list(origin)
    for key, read in ((SOURCE_KEY, source_of), (MODULE_KEY, module_of)):
        if read(to):
            continue
        found = next((read(node) for node in origins if read(node)), "")
        if found:
            to.metadata_props[key] = found


def innermost_user_line(stack_trace: str) -> str:
    """The last frame of a Python stack trace that is not the framework's, as ``file.py:line``.

    Paths are cut to what follows ``site-packages``, or to the file name: the text must not
    depend on the machine that exported.
    """
    frames = _FRAME.findall(stack_trace)
    own = [frame for frame in frames if not _FRAMEWORK.search(_inside_packages(frame[0]))]
    if not own:
        return ""
    path, line = own[-1]
    return f"{_inside_packages(path, file_name_only=True)}:{line}"


def normalize_sources(model: ir.Model) -> None:
    """Reduce exporters' metadata to ``edgecomp.source`` and ``edgecomp.module`` on every node.

    A node without a source takes the one of a node that reads its result, so that constants
    and shape arithmetic made by an exporter point at the line they were made for.
    """
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        source, module = source_of(node), module_of(node)
        for key in [key for key in node.metadata_props if key.startswith(_DROPPED_PREFIXES)]:
            del node.metadata_props[key]
        if source:
            node.metadata_props[SOURCE_KEY] = source
        if module:
            node.metadata_props[MODULE_KEY] = module
    inherit_sources(model)


def inherit_sources(model: ir.Model) -> None:
    """Nodes without a source take the one of their first reader, else of a producer."""
    nodes = list(ir.traversal.RecursiveGraphIterator(model.graph))
    for node in reversed(nodes):
        readers = [use.node for value in node.outputs for use in value.uses()]
        copy_source(readers, node)
    for node in nodes:
        copy_source(node.predecessors(), node)


def _inside_packages(path: str, *, file_name_only: bool = False) -> str:
    parts = re.split(r"[\\/]", path)
    for folder in _PACKAGE_FOLDERS:
        if folder in parts:
            return "/".join(parts[parts.index(folder) + 1 :])
    return parts[-1] if file_name_only else path
