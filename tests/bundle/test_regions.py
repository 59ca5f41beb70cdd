"""Bundles of models with branches and loops: from Python, with threads, and damaged."""

import struct

import numpy as np
import onnx.parser
import pytest

from edgecomp import api
from edgecomp.errors import Code, EdgecompError
from edgecomp.options import BuildOptions
from edgecomp.plan.plan import RegionKind

TEXT = """<ir_version: 10, opset_import: ["": 21]>
g (int64 n, bool c, float[64,129] x) => (float[64,129] y, float[k,129] rows)
  <bool yes = {1}, int64[1] ax = {0}> {
    w = Cos(x)
    z, rows = Loop (n, yes, x) <
      body = b (int64 i, bool ci, float[64,129] v) => (bool co, float[64,129] v2, float[129] r) {
        co = Identity(ci)
        v2 = Sub(w, v)
        r = ReduceMean<keepdims = 0>(v2, ax)
      }
    >
    y = If (c) <
      then_branch = t () => (float[64,129] p) { p = Relu(z) },
      else_branch = e () => (float[64,129] q) { s = Mul(z, x) q = Tanh(s) }
    >
}""".replace("float[k,129] rows", "float[6,129] rows")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("regions") / "bundle"
    return api.build(
        onnx.parser.parse_model(TEXT), BuildOptions(output=folder, name="looping")
    )


def feeds(n, c):
    x = np.random.default_rng(1).standard_normal((64, 129)).astype(np.float32)
    return {"n": np.array(n, np.int64), "c": np.array(c), "x": x}


def expected(n, c, x):
    v, rows = x, np.zeros((6, 129), np.float32)
    for i in range(int(n)):
        v = np.cos(x) - v
        rows[i] = v.mean(0)
    return np.maximum(v, 0) if c else np.tanh(v * x), rows


@pytest.mark.parametrize("threads", [1, 3])
def test_runs(bundle, threads):
    for n in (0, 1, 5, 6):
        for c in (True, False):
            given = feeds(n, c)
            found = bundle.run(given, threads=threads)
            for got, want in zip(found.values(), expected(**given), strict=True):
                np.testing.assert_allclose(got, want, atol=1e-5)


def test_more_rounds_than_rows(bundle):
    with pytest.raises(EdgecompError) as error:
        bundle.run(feeds(7, True))
    assert error.value.code is Code.INPUT_MISMATCH
    assert "more than 6 rounds" in error.value.cause
    bundle.run(feeds(6, True))


def test_golden_vectors_and_the_report(bundle):
    assert all(c.largest_difference <= c.tolerance for c in api.verify(bundle).checks)
    kinds = [region["kind"] for region in bundle.report["regions"]]
    assert kinds == ["loop", "branch", "branch"]
    assert "## Branches and loops" in (bundle.directory / "report.md").read_text()


def test_a_profile_counts_rounds(bundle):
    result = api.benchmark(bundle)
    assert result is not None
    session = bundle._session(1)
    _, calls = session.run_profiled(feeds(4, True), runs=2)
    runs = {profile.runs for profile in calls}
    assert runs == {2, 8, 0}


@pytest.mark.parametrize("field", ["first_call", "end_call", "condition", "limit", "kind"])
def test_a_damaged_region_is_refused(bundle, tmp_path, field):
    """As the runtime finds it: hashes are not looked at when a model is run."""
    import shutil

    folder = tmp_path / "damaged"
    shutil.copytree(bundle.directory, folder)
    library = folder / bundle.library_path.relative_to(bundle.directory)
    content = library.read_bytes()
    loop = bundle.report["regions"][0]
    head = struct.pack("<III", RegionKind.LOOP.value, *loop["calls"])
    assert content.count(head) == 1
    at = content.index(head)
    offset = {"kind": 0, "first_call": 4, "end_call": 8, "condition": 12, "limit": 20}[field]
    bad = struct.pack("<I", 100_000)
    library.write_bytes(content[: at + offset] + bad + content[at + offset + 4 :])
    with pytest.raises(EdgecompError) as error:
        api.open(folder).run(feeds(2, True))
    assert error.value.code is Code.BUNDLE_INVALID
    assert "region 0" in error.value.cause
