"""onnx_ir without sympy is onnx_ir with it."""

import subprocess
import sys

CODE = """
import sys
import edgecomp.onnx_ir_import
import onnx_ir as ir
assert "sympy" not in sys.modules
n = ir.SymbolicDim("n")
assert "sympy" not in sys.modules
assert str((n + 1).value) == "n + 1", n + 1
import sympy
assert isinstance((n * 2)._expr, sympy.Expr)
assert str(ir.SymbolicDim("max(n, 3)").evaluate({"n": 5})) == "5"
assert ir.SymbolicDim(sympy.Symbol("k") + 2).value == "k + 2"
"""


def test_dimensions_are_computed_with_all_the_same():
    subprocess.run([sys.executable, "-c", CODE], check=True)


def test_a_program_that_has_sympy_keeps_it():
    code = "import sympy, sys\nimport edgecomp.onnx_ir_import\n" + CODE.replace(
        'assert "sympy" not in sys.modules', "assert sys.modules['sympy'] is sympy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
