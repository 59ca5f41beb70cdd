"""Verbs on a bundle of several sizes."""

import shutil

import numpy as np
import onnx.parser
import pytest

MODEL = """
<ir_version: 10, opset_import: ["" : 21]>
rows (float[n, 5] a, float[5, 3] b) => (float[n, 3] y)
{
  y = MatMul (a, b)
}
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    import click.testing

    from edgecomp.cli.program import program

    if not shutil.which("cc"):
        pytest.skip("no C compiler called cc: apt install gcc")
    folder = tmp_path_factory.mktemp("dynamic")
    onnx.save(onnx.parser.parse_model(MODEL), folder / "rows.onnx")
    arguments = ["build", str(folder / "rows.onnx"), "--input", "a:[1..16]x5"]
    built = click.testing.CliRunner().invoke(program, [*arguments, "-o", str(folder / "b")])
    assert built.exit_code == 0, built.stderr
    return folder / "b"


def test_a_report_names_the_dimensions(run, bundle):
    text = run("report", bundle).out
    for words in ("a float32 [n]x5", "b float32 5x3", "y float32 [n]x3", "1 to 16"):
        assert words in text
    facts = run("report", bundle, "--json").json
    assert facts["dynamic"] == {"n": [1, 16]}
    assert facts["inputs"][0]["dimensions"] == ["n", "5"]
    assert facts["inputs"][0]["shape"] == [16, 5]


def test_one_size_is_measured(run, bundle):
    result = run("benchmark", bundle, "--shape", "a:4x5", "--num-runs", 3, "--json")
    assert result.status == 0, result.err


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ("a:4x4", "input 'a' cannot be [4, 4]: it is [n, 5], at most [16, 5]"),
        ("a:17x5", "input 'a' cannot be [17, 5]"),
        ("b:4x3", "input 'b' cannot be [4, 3]: it is [5, 3]"),
        ("c:4", "no input named 'c'"),
        ("a:[1..4]x5", "one size is measured at a time"),
        ("a:4x5:u8", "the bundle has decided the dtype"),
        ("a:4y5", "--shape a:4y5: "),
    ],
)
def test_sizes_that_cannot_be(run, bundle, shape, words):
    result = run("benchmark", bundle, "--shape", shape)
    assert result.status == 2
    assert words in result.err


def test_other_runtimes_at_the_largest_size(run, bundle):
    command = ("benchmark", bundle, "--compare", "onnxruntime", "--max-secs", 0.5)
    result = run(*command)
    assert result.status in (0, 12), result.err  # 12: two runtimes that are as fast
    result = run(*command, "--shape", "a:4x5")
    assert result.status == 2
    assert "input 'a' is [16, 5], not [4, 5]" in result.err


def test_a_file_of_any_size(run, bundle, tmp_path):
    paths = {"a": tmp_path / "a.npy", "b": tmp_path / "b.npy"}
    b = np.arange(15, dtype=np.float32).reshape(5, 3)
    np.save(paths["b"], b)
    files = [part for n, p in paths.items() for part in ("--input-file", f"{n}={p}")]
    for rows, status in ((1, 0), (7, 0), (16, 0), (17, 2), (0, 2)):
        a = np.arange(5 * rows, dtype=np.float32).reshape(rows, 5)
        np.save(paths["a"], a)
        output = tmp_path / f"out{rows}"
        result = run("run", bundle, *files, "-o", output)
        assert result.status == status, result.err
        if status:
            assert "the bounds it was built with" in result.err
        else:
            (found,) = output.glob("*.npy")
            np.testing.assert_allclose(np.load(found), a @ b, rtol=1e-6)
