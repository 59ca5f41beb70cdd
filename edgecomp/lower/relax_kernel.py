"""TIR functions of Relax to kernels of the project's form.

A legalized function has blocks, buffers as parameters and temporaries of any size. A kernel has
pointers, a work range, and large temporaries in the workspace that the runtime hands over.
"""

import dataclasses
from typing import Any

import edgecomp.tvm_import  # noqa: F401

# isort: split
import numpy as np
import tvm
from tvm import s_tir, tirx
from tvm.ir import PointerType, PrimType
from tvm_ffi import structural_hash

from edgecomp.schedules.builder import Kernel

#: Temporaries of this size and more leave the stack, where TVM would ask the device for them.
STACK_BYTES = 1024
_ALIGNMENT_BYTES = 64
_SPATIAL = tirx.IterVar.DataPar


@dataclasses.dataclass(frozen=True)
class RawKernel:
    """A kernel, and the scratch it needs."""

    kernel: Kernel
    workspace_bytes: int


def make_kernel(function: Any, name: str) -> RawKernel:
    """Turn one function into a kernel whose only work item is the whole of it.

    Args:
        function: legalized PrimFunc; inputs first, outputs last.
        name: part of the symbol.
    """
    plain = _without_blocks(_inline(function))
    workspace = _Workspace()
    body = workspace.move(plain.body)
    parameters, declarations = _pointers(plain)
    if workspace.bytes:
        parameters.append(workspace.pointer)
        declarations.append(workspace.declaration)
    parameters += [tirx.Var("lo", "int32"), tirx.Var("hi", "int32")]
    raw = tirx.PrimFunc(parameters, tirx.SeqStmt([*declarations, body]))
    raw = raw.with_attr("tirx.noalias", True)
    digest = structural_hash(raw, map_free_vars=True) & 0xFFFFFFFFFFFFFFFF
    symbol = f"ec_{name}_{digest:016x}"
    named = raw.with_attr("global_symbol", symbol)
    return RawKernel(Kernel(symbol, lambda: named), workspace.bytes)


def _inline(function: Any) -> Any:
    """Inline elementwise blocks into their readers.

    Reductions are spared: they would compute an inlined block again for every output.
    """
    try:
        schedule = s_tir.Schedule(function, error_render_level="none")
        blocks = schedule.get_child_blocks(schedule.get_sblock("root"))
    except s_tir.ScheduleError:
        return function  # plain loops, no blocks
    for block in blocks:
        try:
            readers = schedule.get_consumers(block)
            if readers and not any(_reduces(schedule, b) for b in (block, *readers)):
                schedule.compute_inline(block)
        except s_tir.ScheduleError:
            continue  # not an elementwise block
    return schedule.mod["main"]


def _reduces(schedule: Any, block: Any) -> bool:
    axes = schedule.get(block).iter_vars
    return any(axis.iter_type != _SPATIAL for axis in axes)


def _without_blocks(function: Any) -> Any:
    transform = s_tir.transform
    passes = [
        transform.CanonicalizeLoop(),
        transform.LowerInitBlock(),
        transform.PlanAndUpdateBufferAllocationLocation(),
        transform.ConvertBlocksToOpaque(),
        transform.CompactBufferAllocation(),
        transform.LowerMatchBuffer(),
        transform.StmtSimplify(),
        transform.LowerOpaqueBlock(),
        # A Select evaluates both sides; this makes loads that may lie outside conditional.
        transform.RewriteUnsafeSelect(),
    ]
    module = tvm.IRModule({"main": function})
    return tvm.transform.Sequential(passes)(module)["main"]


def _pointers(function: Any) -> tuple[list[Any], list[Any]]:
    """Buffer parameters become pointers and declarations of the same buffers on them."""
    parameters: list[Any] = []
    declarations: list[Any] = []
    for index, parameter in enumerate(function.params):
        pointer = tirx.Var(f"p{index}", PointerType(PrimType(str(parameter.dtype))))
        parameters.append(pointer)
        # Tensors start where their pointer points; some of topi's functions allow an offset.
        if isinstance(parameter.elem_offset, tirx.Var):
            zero = tirx.const(0, str(parameter.elem_offset.ty.dtype))
            declarations.append(tirx.stmt.Bind(parameter.elem_offset, zero))
        declarations.append(tirx.stmt.DeclBuffer(parameter, data=pointer))
    return parameters, declarations


class _Workspace:
    """Collects the temporaries that do not fit the stack, one after the other."""

    def __init__(self) -> None:
        self.bytes = 0
        self.pointer = tirx.Var("workspace", PointerType(PrimType("uint8")))
        self._buffer = tirx.decl_buffer((1,), "uint8", "workspace_buffer", data=self.pointer)

    @property
    def declaration(self) -> Any:
        return tirx.stmt.DeclBuffer(self._buffer, data=self.pointer)

    def move(self, statement: Any) -> Any:
        """The statement with its large allocations replaced by places in the workspace.

        Every loop becomes serial: threads belong to the runtime, vectors to LLVM.
        """
        if isinstance(statement, tirx.SeqStmt):
            return tirx.SeqStmt([self.move(each) for each in statement.seq])
        if isinstance(statement, tirx.For):
            return tirx.For(
                statement.loop_var,
                statement.min,
                statement.extent,
                tirx.ForKind.SERIAL,
                self.move(statement.body),
                None,
                statement.annotations,
                statement.step,
            )
        if isinstance(statement, tirx.IfThenElse):
            other = statement.else_case
            return tirx.IfThenElse(
                statement.condition,
                self.move(statement.then_case),
                None if other is None else self.move(other),
            )
        if isinstance(statement, tirx.While):
            return tirx.While(statement.condition, self.move(statement.body))
        if isinstance(statement, tirx.AttrStmt):
            if statement.attr_key.startswith("pragma"):
                return self.move(statement.body)
            return tirx.AttrStmt(
                statement.node, statement.attr_key, statement.value, self.move(statement.body)
            )
        if isinstance(statement, tirx.AllocBuffer):
            return self._place(statement)
        return statement

    def _place(self, allocation: Any) -> Any:
        buffer = allocation.buffer
        size = np.dtype(str(buffer.dtype)).itemsize
        for extent in buffer.shape:
            size *= int(extent)
        if size < STACK_BYTES:
            return allocation
        offset = self.bytes
        self.bytes += -(-size // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
        place = tirx.address_of(tirx.BufferLoad(self._buffer, [offset]))
        return tirx.stmt.DeclBuffer(buffer, data=place)
