"""The ctypes binding: numbers, errors in the user's words, and the structures' layout."""

import ctypes
import gc
import re
import subprocess
import threading

import ml_dtypes
import numpy as np
import pytest
from helpers.demo_library import (
    RUNTIME,
    compile_plain,
    demo_library,
    demo_outputs,
    demo_weights,
)

from edgecomp import native_abi
from edgecomp.errors import Code, EdgecompError
from edgecomp.native import Session
from edgecomp.native_model import PortInfo, numpy_dtype


@pytest.fixture
def inputs(rng):
    return {
        "x": rng.integers(-128, 128, (37, 16)).astype(np.float32),
        "gain": np.array([0.75], np.float32),
    }


def check_outputs(outputs, inputs):
    expected = demo_outputs(inputs["x"], inputs["gain"])
    assert outputs.keys() == expected.keys()
    for name, array in expected.items():
        assert outputs[name].dtype == array.dtype
        assert outputs[name].shape == array.shape
        np.testing.assert_array_equal(outputs[name], array)


def fails(code, *args, **kwargs):
    with pytest.raises(EdgecompError) as caught:
        Session(*args, **kwargs)
    assert caught.value.code is code
    return caught.value


def test_describes_the_model():
    with Session(demo_library()) as session:
        assert (session.name, session.target) == ("demo", "any")
        assert session.inputs == [
            PortInfo("x", "float32", (37, 16)),
            PortInfo("gain", "float32", (1,)),
        ]
        assert [p.name for p in session.outputs] == ["y", "row/sum:0", "total", "bias"]
        assert session.outputs[0].dtype == "int8"
        assert session.outputs[2].shape == ()
        assert session.arena_bytes == 4992
        assert session.weights_bytes == 256
        call = session.calls[0]
        assert (call.operator, call.schedule, call.source) == (
            "Affine",
            "affine",
            "demo.py:10",
        )
        assert call.nodes == ("mul_0", "add_1")
        assert call.tensors == (0, 1, 2, 3, 4)
        assert call.multiply_adds == 1184
        assert session.calls[1].workspace_bytes == 64
        assert [t.is_weight for t in session.tensors] == [i in (2, 3) for i in range(8)]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_runs(inputs, threads):
    with Session(demo_library(), threads=threads) as session:
        for _ in range(3):
            check_outputs(session.run(inputs), inputs)
            inputs["x"] = inputs["x"][::-1]


def test_uneven_shares(inputs):
    with Session(demo_library(), threads=3, thread_shares=[1, 0, 9]) as session:
        check_outputs(session.run(inputs), inputs)


def test_outputs_are_copies(inputs):
    with Session(demo_library()) as session:
        first = session.run(inputs)
        kept = {name: array.copy() for name, array in first.items()}
        session.run({"x": inputs["x"] + 1, "gain": inputs["gain"]})
    for name, array in first.items():
        np.testing.assert_array_equal(array, kept[name])
        assert array.flags.writeable


def test_inputs_in_any_memory_order(inputs):
    strided = {"x": np.asfortranarray(inputs["x"]), "gain": np.repeat(inputs["gain"], 2)[::2]}
    with Session(demo_library()) as session:
        check_outputs(session.run(strided), inputs)


def test_side_file(tmp_path, inputs):
    weights = tmp_path / "some where" / "weights.bin"
    weights.parent.mkdir()
    weights.write_bytes(demo_weights())
    with Session(demo_library("DEMO_SIDE_FILE"), weights=weights) as session:
        check_outputs(session.run(inputs), inputs)
    beside = demo_library("DEMO_SIDE_FILE").parent / "demo.bin"
    error = fails(Code.FILE_MISSING, demo_library("DEMO_SIDE_FILE"))
    assert "demo.bin" in error.cause
    beside.write_bytes(demo_weights())
    with Session(demo_library("DEMO_SIDE_FILE")) as session:
        check_outputs(session.run(inputs), inputs)
    beside.unlink()


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda b: b[:-1], "255 bytes"),
        (lambda b: b + b"\0", "257 bytes"),
        (lambda _: b"", "0 bytes"),
        (lambda b: bytes([b[0] ^ 1]) + b[1:], "hash"),
    ],
)
def test_damaged_weights(tmp_path, spoil, word):
    path = tmp_path / "weights.bin"
    path.write_bytes(spoil(demo_weights()))
    error = fails(Code.BUNDLE_CORRUPT, demo_library("DEMO_SIDE_FILE"), weights=path)
    assert word in error.cause
    assert error.hint
    assert error.code.exit_code == 10


def test_skip_hash_trusts_contents_not_size(tmp_path):
    path = tmp_path / "weights.bin"
    path.write_bytes(bytes(256))
    Session(demo_library("DEMO_SIDE_FILE"), weights=path, skip_hash=True).close()
    path.write_bytes(bytes(255))
    library = demo_library("DEMO_SIDE_FILE")
    fails(Code.BUNDLE_CORRUPT, library, weights=path, skip_hash=True)


def test_other_version():
    error = fails(Code.BUNDLE_VERSION, demo_library("DEMO_ABI_VERSION=99"))
    assert "version 99" in error.cause
    assert error.code.exit_code == 10


def test_missing_feature():
    error = fails(Code.DEVICE_FAILED, demo_library('DEMO_FEATURES="avx2000"'))
    assert "avx2000" in error.cause
    assert "--target host" in error.hint
    assert error.code.exit_code == 8


def test_not_a_library(tmp_path):
    fails(Code.FILE_MISSING, tmp_path / "absent.so")
    text = tmp_path / "text.so"
    text.write_text("no library")
    error = fails(Code.BUNDLE_INVALID, text)
    assert error.path == str(text)
    source = tmp_path / "empty.c"
    source.write_text("int nothing_here;\n")
    other = compile_plain(tmp_path / "libother.so", [source], "-shared", "-fPIC")
    error = fails(Code.BUNDLE_INVALID, other)
    assert "ec_model_default" in error.cause


def test_bad_options():
    fails(Code.USAGE, demo_library(), threads=0)
    fails(Code.USAGE, demo_library(), threads=1000)
    fails(Code.USAGE, demo_library(), threads=2, thread_shares=[1])
    fails(Code.USAGE, demo_library(), threads=2, thread_shares=[0, 0])
    fails(Code.USAGE, demo_library(), threads=2, thread_shares=[-1, 2])


def refused(inputs):
    with Session(demo_library()) as session, pytest.raises(EdgecompError) as caught:
        session.run(inputs)
    assert caught.value.code is Code.INPUT_MISMATCH
    return caught.value


def test_input_names(inputs):
    error = refused({"x": inputs["x"]})
    assert error.cause == "input 'gain' is missing"
    assert "float32[1]" in error.hint
    error = refused({**inputs, "gian": inputs["gain"]})
    assert error.cause == "the model has no input 'gian'"
    assert error.hint == "did you mean 'gain'?"


def test_input_dtype_and_shape(inputs):
    error = refused({**inputs, "x": inputs["x"].astype(np.float64)})
    assert error.cause == "input 'x' is float64[37, 16], the model takes float32[37, 16]"
    assert error.hint == "array.astype('float32')"
    error = refused({**inputs, "x": inputs["x"].T})
    assert "float32[16, 37]" in error.cause
    assert error.hint == "reshape or transpose it"
    error = refused({**inputs, "x": inputs["x"][:5]})
    assert error.hint == "the shape is fixed at build time"
    error = refused({**inputs, "gain": 0.75})
    assert "is a float, not a numpy array" in error.cause
    error = refused({**inputs, "x": inputs["x"].astype(">f4")})
    assert ">f4" in error.cause


def test_profile(inputs):
    with Session(demo_library(), threads=2) as session:
        outputs, profile = session.run_profiled(inputs, runs=4)
        with pytest.raises(EdgecompError):
            session.run_profiled(inputs, runs=0)
    check_outputs(outputs, inputs)
    assert [p.call for p in profile] == session.calls
    for entry in profile:
        assert entry.runs == 4
        assert 4 * entry.minimum_ns <= entry.total_ns
    assert sum(p.total_ns for p in profile) > 0


def test_prefix_and_tensor(inputs):
    with Session(demo_library()) as session:
        session.run_prefix(inputs, 1)
        affine = session.tensor(4)
        np.testing.assert_array_equal(session.tensor(0), inputs["x"].ravel())
        session.run(inputs)
        assert session.tensor(6).dtype == np.int8
        assert session.tensors[3].name == "bias"
        np.testing.assert_array_equal(session.tensor(3), np.arange(16) - 8)
        for bad in (-1, 8):
            with pytest.raises(EdgecompError):
                session.tensor(bad)
        for bad in (-1, 5):
            with pytest.raises(EdgecompError):
                session.run_prefix(inputs, bad)
    scale, bias = np.arange(1, 17, dtype=np.float32) / 8, np.arange(16, dtype=np.float32) - 8
    np.testing.assert_array_equal(
        affine.reshape(37, 16), inputs["x"] * inputs["gain"] * scale + bias
    )


def test_closed_session(inputs):
    session = Session(demo_library())
    session.close()
    session.close()
    for use in (
        lambda: session.run(inputs),
        lambda: session.run_prefix(inputs, 1),
        lambda: session.tensor(0),
    ):
        with pytest.raises(EdgecompError, match="closed"):
            use()
    Session(demo_library(), threads=2)  # dropped without being closed
    gc.collect()


def test_one_session_used_by_several_threads(inputs):
    wrong = []

    def use(session, gain):
        own = {"x": inputs["x"], "gain": np.array([gain], np.float32)}
        for _ in range(30):
            try:
                check_outputs(session.run(own), own)
            except AssertionError as error:
                wrong.append(error)

    with Session(demo_library(), threads=2) as session:
        threads = [threading.Thread(target=use, args=(session, g)) for g in (0.5, 2.0)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_every_dtype_has_a_numpy_name():
    header = (RUNTIME / "include/edgecomp/model.h").read_text()
    stated = dict(re.findall(r"EC_DTYPE_(\w+) = (\d+)", header))
    assert {int(v): k.lower() for k, v in stated.items()} == native_abi.DTYPE_NAMES
    assert numpy_dtype("bfloat16") == ml_dtypes.bfloat16
    for name in native_abi.DTYPE_NAMES.values():
        assert numpy_dtype(name).name == name


def test_statuses_are_those_of_the_header():
    header = (RUNTIME / "include/edgecomp/edgecomp.h").read_text()
    stated = {
        name.removeprefix("ERROR_"): int(value, 0)
        for name, value in re.findall(r"EC_(OK|ERROR_\w+) = (\w+)", header)
    }
    assert stated == {status.name: int(status) for status in native_abi.Status}


def test_structures_are_those_of_the_headers(tmp_path):
    """Sizes and offsets, as the C compiler lays them out."""
    pairs = {
        "ec_tensor": native_abi.EcTensor,
        "ec_call": native_abi.EcCall,
        "ec_port": native_abi.EcPort,
        "ec_model": native_abi.EcModel,
        "ec_open_options": native_abi.EcOpenOptions,
        "ec_call_profile": native_abi.EcCallProfile,
    }
    lines, expected = [], []
    for name, structure in pairs.items():
        lines.append(f'printf("%zu\\n", sizeof({name}));')
        expected.append(ctypes.sizeof(structure))
        for field, *_ in structure._fields_:
            lines.append(f'printf("%zu\\n", offsetof({name}, {field}));')
            expected.append(getattr(structure, field).offset)
    source = tmp_path / "layout.c"
    source.write_text(
        '#include <stddef.h>\n#include <stdio.h>\n#include "edgecomp/edgecomp.h"\n'
        f"int main(void) {{ {' '.join(lines)} return 0; }}\n"
    )
    program = compile_plain(tmp_path / "layout", [source])
    printed = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    assert [int(line) for line in printed.split()] == expected
