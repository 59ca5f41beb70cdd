"""--input-file: every kind of file, and what is refused."""

import dataclasses

import ml_dtypes
import numpy as np
import PIL.Image
import pytest

from edgecomp.cli.inputs import read_inputs
from edgecomp.errors import Code, EdgecompError
from edgecomp.options import ImageOptions


@dataclasses.dataclass(frozen=True)
class Port:
    name: str
    dtype: str
    shape: tuple[int, ...]
    dimensions: tuple[str, ...] = ()


X = Port("x", "float32", (1, 3, 4, 5))
SCALE = Port("in=put:0", "int32", (2,))
NO_IMAGES = ImageOptions()


@pytest.fixture
def array(rng):
    return rng.standard_normal(X.shape).astype(np.float32)


def test_one_input_needs_no_name(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    array.tofile(tmp_path / "a.bin")
    np.savez(tmp_path / "a.npz", anything=array)
    for name in ("a.npy", "a.bin", "x=a.npy"):
        given = name.replace("a.", f"{tmp_path}/a.", 1)
        np.testing.assert_array_equal(read_inputs([given], [X], NO_IMAGES)["x"], array)
    found = read_inputs([f"x={tmp_path}/a.npz"], [X], NO_IMAGES)
    np.testing.assert_array_equal(found["x"], array)


def test_names_may_hold_an_equals_sign(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    np.save(tmp_path / "b=1.npy", np.array([1, 2], np.int32))
    texts = [f"x={tmp_path}/a.npy", f"in=put:0={tmp_path}/b=1.npy"]
    found = read_inputs(texts, [X, SCALE], NO_IMAGES)
    assert found["in=put:0"].tolist() == [1, 2]


def test_an_npz_file_gives_all_inputs(tmp_path, array):
    np.savez(tmp_path / "a.npz", **{"x": array, "in=put:0": np.array([1, 2], np.int32)})
    assert set(read_inputs([str(tmp_path / "a.npz")], [X, SCALE], NO_IMAGES)) == {
        "x",
        "in=put:0",
    }


def test_a_picture(tmp_path):
    PIL.Image.new("RGB", (5, 4), (255, 0, 51)).save(tmp_path / "a.JPG", "PNG")
    found = read_inputs([str(tmp_path / "a.JPG")], [X], ImageOptions(mean=(0.5,), std=(0.5,)))
    np.testing.assert_allclose(found["x"][0, :, 0, 0], [1, -1, -0.6], rtol=1e-5)


def test_raw_bytes_of_a_dtype_that_numpy_lacks(tmp_path):
    values = np.array([1.5, -2], ml_dtypes.bfloat16)
    (tmp_path / "a.raw").write_bytes(values.tobytes())
    found = read_inputs([str(tmp_path / "a.raw")], [Port("h", "bfloat16", (2,))], NO_IMAGES)
    assert found["h"].tolist() == [1.5, -2]


@pytest.mark.parametrize(
    ("texts", "code", "cause", "hint"),
    [
        ([], Code.INPUT_MISMATCH, "no contents for input 'x' (float32 1x3x4x5)", "x=FILE"),
        (["{f}/a.npy"], Code.USAGE, "the model has 2 inputs, say which", "in=put:0"),
        (["x={f}/a.npy", "x={f}/a.npy"], Code.USAGE, "'x' is given twice", ""),
        (["x={f}/a.npy"], Code.INPUT_MISMATCH, "'in=put:0' (int32 2)", "in=put:0=FILE"),
        (["xx={f}/a.npy"], Code.INPUT_MISMATCH, "no input named 'xx'", "'x'"),
        (["x={f}/none.npy"], Code.FILE_MISSING, "no such input file", ""),
        (["x={f}/short.bin"], Code.INPUT_MISMATCH, "has 3 bytes, input 'x'", ""),
        (["x={f}/text.npy"], Code.USAGE, "cannot be read as numpy file", ""),
        (["x={f}/text.npz"], Code.USAGE, "cannot be read as numpy file", ""),
        (["x={f}/two.npz"], Code.INPUT_MISMATCH, "the file has no array 'x'", "'xx'"),
        (["x={f}/pickle.npy"], Code.USAGE, "cannot be read as numpy file", ""),
        (["x={f}/a.csv"], Code.USAGE, "the suffix '.csv'", ".npy"),
        (
            ["x={f}/double.npy"],
            Code.INPUT_MISMATCH,
            "float64[1, 3, 4, 5]",
            "astype('float32')",
        ),
        (["x={f}/nhwc.npy"], Code.INPUT_MISMATCH, "float32[1, 4, 5, 3]", "transpose"),
        (["x={f}/large.npy"], Code.INPUT_MISMATCH, "float32[2, 3, 4, 5]", "fixed"),
        (["{f}/two.npz"], Code.INPUT_MISMATCH, "no input 'xx'", "'x'"),
    ],
)
def test_refusals(tmp_path, array, texts, code, cause, hint):
    np.save(tmp_path / "a.npy", array)
    np.save(tmp_path / "pickle.npy", np.array([{"code": 1}], object), allow_pickle=True)
    np.savez(tmp_path / "two.npz", xx=array, y=array)
    np.save(tmp_path / "double.npy", array.astype(np.float64))
    np.save(tmp_path / "nhwc.npy", array.transpose(0, 2, 3, 1))
    np.save(tmp_path / "large.npy", np.concatenate([array, array]))
    for name in ("short.bin", "text.npy", "text.npz", "a.csv"):
        (tmp_path / name).write_text("abc")
    with pytest.raises(EdgecompError) as info:
        read_inputs([t.format(f=tmp_path) for t in texts], [X, SCALE], NO_IMAGES)
    assert info.value.code is code
    assert cause in info.value.cause
    assert hint in info.value.hint
