"""torch modules and ``.pt2`` programs to onnx_ir models: the only place that imports torch."""

import contextlib
import dataclasses
import logging
import os
import pathlib
import warnings
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from edgecomp.errors import Code, EdgecompError
from edgecomp.frontend.input_spec import InputSpec
from edgecomp.graph.compare import MODEL_TOLERANCE, relative_difference
from edgecomp.graph.constants import AnyArray
from edgecomp.graph.run import run_model

logger = logging.getLogger(__name__)


@dataclasses.dataclass
class Traced:
    """A traced model and what eager torch computes on its example input.

    Attributes:
        model: as torch exported it.
        feeds: example inputs by graph input name.
        expected: eager outputs in graph output order.
    """

    model: ir.Model
    feeds: dict[str, AnyArray]
    expected: list[AnyArray]


def is_torch_object(source: object) -> bool:
    """Whether a value is a torch module or exported program, without importing torch."""
    kinds = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(source).__mro__}
    return bool(
        kinds
        & {
            "torch.nn.modules.module.Module",
            "torch.export.exported_program.ExportedProgram",
        }
    )


def load_pt2(path: pathlib.Path) -> Any:
    """Read a ``torch.export`` archive; code in it is refused, only tensors are unpickled."""
    _torch()
    import torch

    if not zipfile.is_zipfile(path):
        raise EdgecompError(
            Code.MODEL_UNREADABLE,
            "not a torch.export archive, or cut off",
            path=str(path),
            hint="write it with torch.export.save(torch.export.export(module, args), path)",
        )
    try:
        with _weights_only(), _quiet():
            return torch.export.load(path)
    except Exception as error:  # torch raises many types for a broken archive
        raise EdgecompError(
            Code.MODEL_UNREADABLE,
            f"torch cannot load the archive: {_first_line(error)}",
            path=str(path),
            hint="save it again with the installed torch version",
        ) from error


def trace(
    source: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    inputs: Mapping[str, InputSpec],
    dynamic_shapes: Any,
    opset: int,
    resized: Collection[str] = (),
) -> Traced:
    """Export to ONNX and run the same example through eager torch.

    The module is traced in evaluation mode and left in the mode it was in.

    Raises:
        EdgecompError: USAGE without example inputs, MODEL_INVALID or OPERATOR_UNSUPPORTED
            where torch cannot export.
    """
    torch = _torch()
    program = hasattr(source, "example_inputs")
    if not args and not kwargs:
        args, kwargs = _example(source, inputs)
    module = source.module() if program else source
    if resized:
        specs = {name: inputs[name] for name in resized}
        args, kwargs = _resized(args, kwargs, module, specs)
    with _evaluation_mode(module), torch.no_grad():
        exported = _export(source, tuple(args), dict(kwargs), dynamic_shapes, opset)
        model = exported.model
        feeds = _feeds(model, args, kwargs, module, program=program)
        outputs = module(*_detached(args), **_detached(kwargs))
    return Traced(model, feeds, [_array(each) for each in _leaves(outputs)])


def compare_with_eager(model: ir.Model, traced: Traced) -> float:
    """Largest difference between the ONNX model and eager torch, in parts of the range.

    Raises:
        EdgecompError: TRACE_MISMATCH naming the output.
    """
    names = [value.name or "" for value in model.graph.outputs]
    if len(names) != len(traced.expected):
        raise EdgecompError(
            Code.TRACE_MISMATCH,
            f"the traced model has {len(names)} outputs, eager torch gave {len(traced.expected)}",
            hint="return a flat tuple of tensors",
        )
    feeds = {
        value.name: traced.feeds[value.name]
        for value in model.graph.inputs
        if value.name in traced.feeds
    }
    actual = run_model(model, feeds)
    worst = 0.0
    for name, expected in zip(names, traced.expected, strict=True):
        difference = relative_difference(actual[name], expected)
        if not difference <= MODEL_TOLERANCE:
            raise EdgecompError(
                Code.TRACE_MISMATCH,
                f"output '{name}' of the traced model differs from eager torch by "
                f"{difference:.3g} of its range (allowed {MODEL_TOLERANCE:g})",
                node=name,
                hint="look for randomness, in-place changes of inputs, or data-dependent "
                "Python control flow in forward()",
            )
        worst = max(worst, difference)
    return worst


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise EdgecompError(
            Code.PACKAGE_MISSING,
            "torch is not installed, and the model needs it",
            hint="pip install 'edgecomp[torch]'",
        ) from error
    return torch


def _example(source: Any, inputs: Mapping[str, InputSpec]) -> tuple[tuple[Any, ...], Any]:
    """Example inputs: the archive's own, or seeded random tensors of the given shapes."""
    torch = _torch()
    saved = getattr(source, "example_inputs", None)
    if saved is not None:
        return tuple(saved[0]), saved[1]
    if not inputs:
        raise EdgecompError(
            Code.USAGE,
            "a torch module cannot be traced without example inputs",
            hint="pass args=(tensor, ...), or --input name:1x3x224x224 in the order of forward()",
        )
    return tuple(torch.from_numpy(np.array(spec.random())) for spec in inputs.values()), {}


def _resized(
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    module: Any,
    inputs: Mapping[str, InputSpec],
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Example inputs in other shapes, with the same contents again and again."""
    import inspect

    torch = _torch()

    def resized(name: str, given: Any) -> Any:
        if name not in inputs or not isinstance(given, torch.Tensor):
            return given
        if tuple(given.shape) == inputs[name].extents:
            return given
        return torch.from_numpy(np.resize(given.detach().cpu().numpy(), inputs[name].extents))

    names = [*inspect.signature(module.forward).parameters]
    names += [""] * (len(args) - len(names))  # of *args
    found = tuple(resized(name, given) for name, given in zip(names, args, strict=False))
    return found, {name: resized(name, given) for name, given in kwargs.items()}


def _export(
    source: Any, args: tuple[Any, ...], kwargs: dict[str, Any], dynamic_shapes: Any, opset: int
) -> Any:
    import torch

    try:
        with _quiet():
            return torch.onnx.export(
                source,
                args,
                kwargs=kwargs or None,
                dynamic_shapes=dynamic_shapes,
                opset_version=opset,
                dynamo=True,
                optimize=False,  # edgecomp's own passes do it and keep the source lines
                verbose=False,
            )
    except Exception as error:  # torch raises many types here
        text = _all_text(error)
        code = (
            Code.OPERATOR_UNSUPPORTED
            if "No ONNX function found" in text or "DispatchError" in text
            else Code.MODEL_INVALID
        )
        raise EdgecompError(
            code,
            f"torch cannot export the module: {_cause(error)}",
            source=_user_line(text),
            hint="torch.export.export(module, args) alone shows the same error with its trace",
        ) from error


def _feeds(
    model: ir.Model,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    module: Any,
    *,
    program: bool,
) -> dict[str, AnyArray]:
    """Example tensors by graph input name: the graph lists them in calling order."""
    import inspect

    named = dict(kwargs)
    if not program and kwargs:
        order = list(inspect.signature(module.forward).parameters)
        named = dict(sorted(kwargs.items(), key=lambda item: _position(order, item[0])))
    leaves = [_array(each) for each in _leaves((tuple(args), named)) if _is_tensor(each)]
    names = [value.name or "" for value in model.graph.inputs]
    return dict(zip(names, leaves, strict=False))


def _position(order: list[str], name: str) -> int:
    return order.index(name) if name in order else len(order)


def _leaves(value: Any) -> list[Any]:
    from torch.utils import _pytree

    return [leaf for leaf in _pytree.tree_leaves(value) if leaf is not None]


def _detached(value: Any) -> Any:
    """Copies, so that a module that changes its inputs does not change the example."""
    from torch.utils import _pytree

    return _pytree.tree_map(
        lambda leaf: leaf.detach().clone() if _is_tensor(leaf) else leaf, value
    )


def _is_tensor(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def _array(value: Any) -> AnyArray:
    import torch

    if not isinstance(value, torch.Tensor):
        return np.asarray(value)
    tensor = value.detach().cpu()
    if tensor.dtype == torch.bfloat16:
        import ml_dtypes

        return np.asarray(tensor.float().numpy().astype(ml_dtypes.bfloat16))
    return np.asarray(tensor.numpy())


@contextlib.contextmanager
def _evaluation_mode(module: Any) -> Iterator[None]:
    """All submodules in evaluation mode, each back in its own mode afterwards."""
    modes = [(each, each.training) for each in module.modules()]
    if any(training for _, training in modes):
        try:
            module.eval()
        except NotImplementedError:  # a loaded program has its mode fixed
            modes = []
        else:
            logger.info("traced in evaluation mode")
    try:
        yield
    finally:
        for each, training in modes:
            each.training = training


@contextlib.contextmanager
def _weights_only() -> Iterator[None]:
    """Forbid what torch falls back to: full unpickling, which runs code from the file."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch's own chatter away from the user's terminal."""
    chatty = logging.getLogger("torch.onnx")
    level = chatty.level
    chatty.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        chatty.setLevel(level)


def _all_text(error: BaseException) -> str:
    texts, seen = [], error
    while seen is not None:
        texts.append(f"{type(seen).__name__}: {seen}")
        seen = seen.__cause__ or seen.__context__  # type: ignore[assignment]
    return "\n".join(texts)


def _cause(error: BaseException) -> str:
    """One line of the innermost cause: torch wraps it in pages of advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {_first_line(error)}"


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _user_line(text: str) -> str:
    from edgecomp.graph.source import innermost_user_line

    return innermost_user_line(text)
