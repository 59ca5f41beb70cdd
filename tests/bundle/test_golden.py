"""Golden vectors come back as they were given."""

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import ml_dtypes
import numpy as np
import pytest

from edgecomp.bundle.golden import read_golden, write_golden
from edgecomp.bundle.manifest import Port
from edgecomp.errors import Code, EdgecompError

DTYPES = st.sampled_from(["float32", "int8", "uint8", "int64", "bool", "float16", "bfloat16"])
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3)


@hypothesis.given(st.data())
def test_round_trip(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("golden")
    ports, arrays = [], {}
    for name in ("a/b:0", "file", "ä"):
        dtype, shape = data.draw(DTYPES), data.draw(SHAPES)
        ports.append(Port(name, dtype, shape))
        count = int(np.prod(shape))
        raw = np.arange(count) % 2
        kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
        arrays[name] = raw.reshape(shape).astype(kind)
    write_golden(folder, [(arrays, arrays), (arrays, arrays)], ports, ports)
    vectors = read_golden(folder, ports, ports, [{}, {"x": 0.5}])
    assert len(vectors) == 2
    for vector in vectors:
        for found in (vector.inputs, vector.outputs):
            assert list(found) == [p.name for p in ports]
            for name, array in found.items():
                assert array.dtype == arrays[name].dtype
                assert array.shape == arrays[name].shape
                assert array.tobytes() == arrays[name].tobytes()


def test_strided_arrays_are_written_in_order(tmp_path):
    array = np.arange(12, dtype=np.float32).reshape(3, 4).T
    ports = [Port("x", "float32", (4, 3))]
    write_golden(tmp_path, [({"x": array}, {})], ports, [])
    (vector,) = read_golden(tmp_path, ports, [], [{}])
    np.testing.assert_array_equal(vector.inputs["x"], array)
    with np.load(tmp_path / "golden" / "golden.npz") as file:
        np.testing.assert_array_equal(file["0/input/x"], array)


@pytest.mark.parametrize(
    "arrays", [{}, {"x": np.zeros(3, np.float64)}, {"x": np.zeros(2, np.float32)}]
)
def test_vectors_that_do_not_fit_the_model(tmp_path, arrays):
    with pytest.raises(EdgecompError) as caught:
        write_golden(tmp_path, [(arrays, {})], [Port("x", "float32", (3,))], [])
    assert caught.value.code is Code.INTERNAL


def test_truncated_file(tmp_path):
    ports = [Port("x", "float32", (3,))]
    write_golden(tmp_path, [({"x": np.zeros(3, np.float32)}, {})], ports, [])
    (tmp_path / "golden" / "0" / "input_0.bin").write_bytes(b"short")
    with pytest.raises(EdgecompError) as caught:
        read_golden(tmp_path, ports, [], [{}])
    assert caught.value.code is Code.BUNDLE_CORRUPT
