"""What is said of each generated kernel, so that a change of the compiler shows what it changed.

A line is a layer of ``helpers.layers``: what it computes, the schedule that took it, kind and tile
of the kernel, how the call is cut into work items, bytes of packed weights, and a digest of the
function's text. No compiler runs.
"""

import collections
import dataclasses
import hashlib
import itertools
import re

import numpy as np
from tvm_ffi import structural_hash

from edgecomp.device.load import load_target
from edgecomp.lower.assemble import set_aliases
from edgecomp.lower.program import laid_out_program, processor_program
from edgecomp.lower.select import select
from edgecomp.plan.finish import Activation
from edgecomp.plan.movement import FillHalo, StridedCopy
from edgecomp.schedules.schedule import Constant
from helpers.layers import BLOCKS, block_model
from helpers.targets import AVX512, PAIRS

#: Not the host: what a machine is must not change the text.
TARGETS = {
    "x86-64-v3": lambda: load_target("x86-64-v3"),
    "avx512-vnni": lambda: AVX512,
    "zen4": lambda: PAIRS,
    "raspberry-pi-3": lambda: load_target("raspberry-pi-3"),
    "raspberry-pi-4": lambda: load_target("raspberry-pi-4"),
    "raspberry-pi-5": lambda: load_target("raspberry-pi-5"),
    "rk3568": lambda: load_target("rk3568"),
    "armv7-linux": lambda: load_target("armv7-linux"),
}
#: They move bytes, differ by sizes alone and are half of all calls.
_LEFT_OUT = (FillHalo, StridedCopy)


@dataclasses.dataclass(frozen=True)
class Line:
    """A kernel call of a block.

    Attributes:
        block, precision: where.
        layer: what it computes.
        schedule: by which.
        call: the call's ``KernelCall``.
        times: calls of the block that are alike.
    """

    block: str
    precision: str
    layer: str
    schedule: str
    call: object
    times: int = 1

    @property
    def kernel(self):
        """Kind, arithmetic and tile, as the symbol has them."""
        return re.sub(r"^ec_|_[0-9a-f]{16}$", "", self.call.kernel.symbol)

    @property
    def digest(self):
        """Of the function's text.

        TVM's structural hash alone collides for kernels that differ in two small constants; the
        printed text has those, but not every digit of a float.
        """
        function = self.call.kernel.function.without_attr("global_symbol")
        numbers = structural_hash(function, map_free_vars=True)
        text = f"{function.script(show_meta=False)}{numbers}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def facts(self):
        """How the call is cut, and what it is packed into."""
        packed = sum(a.array.nbytes for a in self.call.arguments if isinstance(a, Constant))
        found = {
            "items": self.call.work_items,
            "packed": packed,
            "workspace": self.call.workspace_bytes,
            "calls": self.times if self.times > 1 else 0,
        }
        return " ".join(f"{key} {value}" for key, value in found.items() if value)

    @property
    def head(self):
        """Of the block's lines."""
        return f"{self.block}, {self.precision}"

    def __str__(self):
        parts = (self.layer, self.schedule, self.kernel, self.facts, self.digest)
        return " | ".join(parts)


def text_of(lines, describe=str):
    """A block's name, then its lines by ``describe``, for all blocks."""
    parts = []
    for head, block in itertools.groupby(lines, lambda line: line.head):
        parts.append("\n".join([f"== {head}", *map(describe, block), ""]))
    return "\n".join(parts)


def lines_of(target):
    """All blocks in both precisions, in order."""
    return [
        line
        for block, precisions in BLOCKS.items()
        for precision in precisions
        for line in block_lines(block, precision, target)
    ]


def block_lines(block, precision, target):
    """The calls of one block; those that are alike are one line."""
    model = block_model(block, precision)
    made = laid_out_program(model, target, block.__name__)
    assert not made.fallbacks
    set_aliases(made.program)
    program = processor_program(made, target)
    found = collections.Counter()
    calls = {}
    kept = [o for o in program.operations if not isinstance(o.kind, _LEFT_OUT)]
    program = dataclasses.replace(program, operations=kept)
    for chosen in select(program, target):
        for call in chosen.calls:
            key = (signature(chosen.operation), chosen.schedule, call.kernel.symbol)
            found[key] += 1
            calls.setdefault(key, call)
    return [
        Line(block.__name__, precision, layer, schedule, calls[layer, schedule, symbol], times)
        for (layer, schedule, symbol), times in found.items()
    ]


def signature(operation):
    """Kind, sizes, and what differs from the kind's defaults."""
    data = [_value(v) for v in operation.inputs if v.constant is None]
    weights = [_value(v) for v in operation.inputs if v.constant is not None and v.shape]
    outputs = [_value(v) for v in operation.outputs]
    parts = [type(operation.kind).__name__, *data]
    parts += [f"({' '.join(weights)})"] if weights else []
    parts += ["->", *outputs]
    if dataclasses.is_dataclass(operation.kind):
        parts += filter(None, map(_field, *_changed(operation.kind)))
    return " ".join(parts)


def _value(value):
    halo = value.halo
    sides = (halo.top, halo.left, halo.bottom, halo.right)
    around = f"+{','.join(map(str, sides))}" if halo else ""
    dtype = np.dtype(value.dtype)
    return f"{dtype.kind}{8 * dtype.itemsize}[{'x'.join(map(str, value.shape))}]{around}"


def _changed(kind):
    """Names and contents of the fields that are not as by default."""
    fields = [
        (field.name, getattr(kind, field.name))
        for field in dataclasses.fields(kind)
        if field.default is dataclasses.MISSING
        or not _same(getattr(kind, field.name), field.default)
    ]
    return tuple(zip(*fields, strict=True)) or ((), ())


def _same(a, b):
    return type(a) is type(b) and not dataclasses.is_dataclass(a) and bool(a == b)


def _field(name, content):
    if isinstance(content, Activation):
        return content.name
    if isinstance(content, bool):
        return name if content else ""
    if isinstance(content, int | str):
        return f"{name} {content}"
    if isinstance(content, tuple) and all(isinstance(c, int) for c in content):
        return f"{name} {'x'.join(map(str, content))}"
    if name == "steps":
        return "+".join(step.operator for step in content)
    return type(content).__name__ if dataclasses.is_dataclass(content) else ""
