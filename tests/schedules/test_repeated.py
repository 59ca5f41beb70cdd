import dataclasses

from edgecomp.schedules import tirx
from edgecomp.schedules.builder import KernelBuilder, load
from edgecomp.schedules.repeated import emit_once

CALLS = []


@dataclasses.dataclass(frozen=True)
class Parts:
    number: float
    size: object = 8


def emit(parts, name):
    CALLS.append(parts)
    builder = KernelBuilder()
    x = builder.pointer("x", "float32", 8)
    builder.store(x, builder.lo, load(x, builder.lo) + parts.number)
    return builder.finish(name)


def test_equal_parts_have_one_kernel():
    CALLS.clear()
    first = emit_once(emit, Parts(1.0), "k")
    assert emit_once(emit, Parts(1.0), "k") is first
    assert len(CALLS) == 1
    for parts, name in ((Parts(-1.0), "k"), (Parts(1.0, 9), "k"), (Parts(1.0), "l")):
        assert emit_once(emit, parts, name) is not first
    assert len(CALLS) == 4


def test_what_holds_a_variable_is_emitted_each_time():
    CALLS.clear()
    size = tirx.Var("n", "int32")
    emit_once(emit, Parts(1.0, size), "k")
    emit_once(emit, Parts(1.0, size), "k")
    emit_once(lambda: emit(Parts(1.0), "k"))
    assert len(CALLS) == 3
