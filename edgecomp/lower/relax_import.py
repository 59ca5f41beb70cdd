"""One ONNX node to TIR functions, through Relax's importer and legalization."""

import contextlib
import dataclasses
import functools
import io
import warnings
from typing import Any

import edgecomp.tvm_import  # noqa: F401

# isort: split
import numpy as np
import onnx
import tvm
from tvm import relax, tirx
from tvm.relax.frontend.onnx import from_onnx

from edgecomp.lower.bound_indices import bound_indices
from edgecomp.lower.relax_roi_align import legalize_roi_align
from edgecomp.plan.values import Array


class ImportRefusedError(Exception):
    """Relax has no meaning for the node; the text says why."""


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A tensor of the imported node: its input, its output or between.

    Attributes:
        input: number of the node's input, or -1.
        shape: static.
        dtype: numpy name.
        constant: its contents, or None.
    """

    shape: tuple[int, ...]
    dtype: str
    input: int = -1
    constant: Array | None = dataclasses.field(default=None, compare=False)


@dataclasses.dataclass(frozen=True)
class Call:
    """A TIR function applied to tensors, by number; the outputs come last."""

    function: Any
    arguments: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Imported:
    """What one node becomes.

    Attributes:
        tensors: all of them.
        calls: in order.
        outputs: numbers of the node's outputs.
    """

    tensors: tuple[Tensor, ...]
    calls: tuple[Call, ...]
    outputs: tuple[int, ...]


@functools.lru_cache(maxsize=256)
def import_node(model: bytes) -> Imported:
    """Import a model of one node (see ``plan.operations.Fallback``).

    Raises:
        ImportRefusedError: Relax does not know it, or needs shapes that depend on contents.
    """
    proto = onnx.load_from_string(model)
    try:
        module = _legalize(bound_indices(proto))
    except ImportRefusedError:
        raise
    except Exception as error:
        raise ImportRefusedError(_first_line(error)) from error
    return _Walk(module).imported()


def _legalize(proto: onnx.ModelProto) -> Any:
    transform = relax.transform
    # Sorts and scans are chosen by target; any CPU gives the same loops.
    # The importer prints what it cannot convert.
    silence = contextlib.redirect_stdout(io.StringIO())
    with silence, warnings.catch_warnings(), tvm.target.Target("llvm"):
        warnings.simplefilter("ignore")
        module = relax.backend.DispatchSortScan()(from_onnx(proto))
        for each in (
            transform.DecomposeOpsForInference(),
            transform.CanonicalizeBindings(),
            transform.LegalizeOps({"relax.vision.roi_align": legalize_roi_align}),
            transform.FoldConstant(),
            transform.AnnotateTIROpPattern(),
            transform.FuseOps(),
            transform.FuseTIR(),
            transform.DeadCodeElimination(),
        ):
            module = each(module)
    return module


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else ''}"[:200]


class _Walk:
    """Bindings of the main function, in order, to tensors and calls."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self._tensors: list[Tensor] = []
        self._calls: list[Call] = []
        self._known: dict[Any, Any] = {}

    def imported(self) -> Imported:
        main = self._module["main"]
        for parameter in main.params:
            name = str(parameter.name)
            if not name.startswith("i"):
                raise ImportRefusedError(f"unexpected parameter {name}")
            self._known[parameter] = self._add(parameter.ty, input=int(name[1:]))
        for block in main.body.blocks:
            for binding in block.bindings:
                self._known[binding.var] = self._bind(binding)
        results = self._resolve(main.body.body)
        outputs = results if isinstance(results, list) else [results]
        return Imported(tuple(self._tensors), tuple(self._calls), tuple(outputs))

    def _add(self, kind: Any, **facts: Any) -> int:
        shape = getattr(kind, "shape", None)
        values = getattr(shape, "values", None)
        if values is None or not all(isinstance(v, tirx.IntImm) for v in values):
            raise ImportRefusedError("a shape depends on the contents of a tensor")
        dtype = str(getattr(kind.dtype, "dtype", kind.dtype))
        self._tensors.append(Tensor(tuple(int(v) for v in values), dtype, **facts))
        return len(self._tensors) - 1

    def _bind(self, binding: Any) -> Any:
        value = binding.value
        operator = getattr(getattr(value, "op", None), "name", "")
        if operator != "relax.call_tir":
            return self._resolve(value)
        if len(value.args) > 2:
            raise ImportRefusedError("a shape depends on the contents of a tensor")
        function = self._module[value.args[0]]
        arguments = [self._resolve(argument) for argument in value.args[1].fields]
        several = isinstance(binding.var.ty, relax.TupleType)
        kinds = binding.var.ty.fields if several else [binding.var.ty]
        outputs = [self._add(kind) for kind in kinds]
        self._calls.append(Call(function, (*arguments, *outputs)))
        return outputs if several else outputs[0]

    def _resolve(self, value: Any) -> Any:
        """Number of a tensor, or a list of numbers for a tuple."""
        if isinstance(value, tvm.ir.GenericConst):
            array = np.ascontiguousarray(value.value.numpy())
            self._tensors.append(Tensor(array.shape, str(array.dtype), constant=array))
            return len(self._tensors) - 1
        if isinstance(value, relax.Tuple):
            return [self._resolve(field) for field in value.fields]
        if isinstance(value, relax.TupleGetItem):
            return self._resolve(value.tuple_value)[int(value.index)]
        if isinstance(value, relax.Var) and value in self._known:
            return self._known[value]
        name = getattr(getattr(value, "op", None), "name", type(value).__name__)
        raise ImportRefusedError(f"no kernel for {name}")
