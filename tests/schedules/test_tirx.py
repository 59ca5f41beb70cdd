import math
import subprocess
import sys

import numpy as np
import pytest

from edgecomp.schedules import tirx
from edgecomp.schedules.builder import KernelBuilder, constant, load, ramp


def digest_of(expression):
    return tirx.digest(tirx.Evaluate(expression))


def values():
    """One of each kind of operand."""
    names = ["int8", "uint8", "int32", "int64", "uint32", "float32", "float64", "bool"]
    made = [tirx.Var(name, name) for name in names]
    made += [tirx.Broadcast(tirx.Var(name, name), 4) for name in names]
    return [*made, 3, 2.5, True]


#: TVM has no such operator for some pairs: both sides have to say so.
OPERATIONS = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "<": lambda a, b: a < b,
    "==": lambda a, b: tirx.EQ(a, b),
    "min": tirx.min,
    "&": lambda a, b: a & b,
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_types_are_those_of_tvm(name):
    from edgecomp.schedules.replay import replay

    operation, compared = OPERATIONS[name], 0
    for a in values():
        for b in values():
            if not isinstance(a, tirx.Expr) and not isinstance(b, tirx.Expr):
                continue
            if not isinstance(a, tirx.Expr) and name == "&":
                continue  # written with the number on the right
            found = operation(a, b)
            try:
                made = replay(found)
                wanted = str(made.ty.dtype)
            except Exception:  # TVM takes no such pair
                continue
            assert str(found.dtype) == wanted, (a, b)
            compared += 1
    assert compared > 10


def test_types_of_other_expressions():
    from edgecomp.schedules.replay import replay

    x = tirx.Var("x", "float32")
    buffer = tirx.decl_buffer(64, "uint8", "b")
    vector = tirx.Broadcast(x, 8)
    index = tirx.Var("i", "int32")
    for found in (
        x.astype("int32"),
        -vector,
        ~tirx.Var("flag", "bool"),
        tirx.Select(x < 1.0, x, tirx.const(0.0, "float32")),
        tirx.Shuffle([vector, vector], [1, 9, 3]),
        tirx.Ramp(index, 2, 16),
        tirx.BufferLoad(buffer, [tirx.Ramp(index, 1, 16)]),
        tirx.BufferLoad(buffer, [index]),
        tirx.reinterpret("int32x8", vector),
        tirx.Cast("float64x8", vector),
        tirx.call_llvm_pure_intrin("float32x8", "llvm.sqrt.v8f32", vector),
        tirx.sqrt(vector),
        tirx.truncdiv(index, 3),
        vector / 3.0,
    ):
        assert str(found.dtype) == str(replay(found).ty.dtype), found.record[0]


def test_digest_tells_numbers_apart():
    x = tirx.Var("x", "float32")
    numbers = [0.0, -0.0, 1.0, math.nextafter(1.0, 2.0), math.inf, -math.inf, math.nan]
    assert len({digest_of(x + number) for number in numbers}) == len(numbers)
    assert digest_of(x + 1) != digest_of(x + 1.0) != digest_of(x + True)


def test_digest_tells_variables_apart():
    def sum_of(same):
        x, y = tirx.Var("v", "int32"), tirx.Var("v", "int32")
        return digest_of(x + (x if same else y))

    assert sum_of(same=True) != sum_of(same=False)
    assert sum_of(same=False) == sum_of(same=False)


def test_digest_does_not_depend_on_which_text_object_a_name_is():
    first = digest_of(tirx.Var("ab", "int32") + tirx.Var("ab", "int32"))
    name = "".join(["a", "b"])
    assert first == digest_of(tirx.Var(name, "".join(["int", "32"])) + tirx.Var("ab", "int32"))


def test_digest_is_the_same_in_another_process():
    code = (
        "from edgecomp.schedules import tirx\n"
        "x = tirx.Var('x', 'float32')\n"
        "print(tirx.digest(tirx.Evaluate(tirx.Select(x < 0.5, x * 3.0, x + x))))\n"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    }
    assert len(found) == 1


def test_other_objects_are_refused():
    x = tirx.Var("x", "int32")
    with pytest.raises(TypeError, match="no operand"):
        x + np.int64(3)
    with pytest.raises(TypeError, match="in the record"):
        tirx.digest(tirx.Node(("Evaluate", object())))
    with pytest.raises(TypeError, match="neither true nor false"):
        bool(x < 3)
    with pytest.raises(TypeError, match="is no int32"):
        tirx.const(2.5, "int32")


def test_a_sum_of_thousands_of_terms():
    from edgecomp.schedules.replay import replay

    total = x = tirx.Var("x", "float32")
    for _ in range(3000):
        total = total * x
    assert len(digest_of(total)) == 64
    assert replay(total).ty.dtype == "float32"


def test_a_kernel_is_made_without_tvm():
    code = (
        "import sys\n"
        "import edgecomp.lower.lower\n"
        "from edgecomp.schedules.builder import KernelBuilder, load\n"
        "b = KernelBuilder()\n"
        "x = b.pointer('x', 'float32', 8)\n"
        "b.store(x, b.lo, load(x, b.lo) + 1.0)\n"
        "assert b.finish('k').symbol.startswith('ec_k_')\n"
        "assert not [m for m in sys.modules if m.startswith(('tvm', 'sympy', 'torch'))]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_function_is_what_was_written():
    builder = KernelBuilder()
    x = builder.pointer("x", "float32", 64)
    with builder.loop("i", builder.lo, builder.hi) as i:
        builder.store(x, ramp(i * 8, 8), load(x, i * 8, 8) + constant(1.5, "float32", 8))
    kernel = builder.finish("add")
    assert kernel.function is kernel.function
    text = kernel.function.script(show_meta=False)
    assert "lo + (hi - lo)" in text
    assert str(kernel.function.attrs["global_symbol"]) == kernel.symbol
    assert "1.5" in text
