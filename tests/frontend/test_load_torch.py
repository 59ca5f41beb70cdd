"""torch modules, archives and entries; torch is imported only where it is needed."""

import pathlib
import subprocess
import sys
import zipfile

import numpy as np
import pytest

torch = pytest.importorskip(
    "torch", reason="torch is not installed (pip install 'edgecomp[torch]')"
)

from edgecomp.errors import Code, EdgecompError  # noqa: E402
from edgecomp.frontend.input_spec import InputSpec, parse_input_specs  # noqa: E402
from edgecomp.frontend.load import load_model  # noqa: E402
from edgecomp.graph.run import run_model  # noqa: E402
from edgecomp.graph.source import module_of, source_of  # noqa: E402

HERE = pathlib.Path(__file__).name


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3)
        self.norm = torch.nn.BatchNorm2d(8)
        self.drop = torch.nn.Dropout(0.5)
        self.head = torch.nn.Linear(8, 4)

    def forward(self, image, scale=None):
        y = self.drop(torch.relu(self.norm(self.conv(image))))
        y = y.mean((2, 3))
        return self.head(y if scale is None else y * scale)


def line_of(text):
    lines = pathlib.Path(__file__).read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return Network()


def test_module(network):
    example = torch.randn(2, 3, 8, 8)
    network.train()
    network.norm.eval()
    model = load_model(network, args=(example,))
    assert network.training
    assert not network.norm.training
    assert [node.op_type for node in model.graph] == [
        "Conv", "BatchNormalization", "Relu", "Identity", "ReduceMean", "Gemm",
    ]  # fmt: skip
    conv, *_, gemm = model.graph
    assert source_of(conv) == f"{HERE}:{line_of('self.norm(self.conv(image))')}"
    assert source_of(gemm) == f"{HERE}:{line_of('return self.head(y')}"
    assert (module_of(conv), module_of(gemm)) == ("conv", "head")
    (actual,) = run_model(model, {"image": example.numpy()}).values()
    expected = network.eval()(example).detach().numpy()
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_keyword_inputs(network):
    model = load_model(
        network, args=(torch.randn(2, 3, 8, 8),), kwargs={"scale": torch.full((2, 1), 2.0)}
    )
    assert [value.name for value in model.graph.inputs] == ["image", "scale"]


@pytest.mark.parametrize("by_name", [(), ("scale",), ("image", "scale")])
def test_examples_at_another_size(network, by_name):
    """Bounded inputs are traced at the size that is asked for, however they are passed."""
    example = {"image": torch.randn(2, 3, 8, 8), "scale": torch.full((2, 1), 2.0)}
    model = load_model(
        network,
        args=tuple(tensor for name, tensor in example.items() if name not in by_name),
        kwargs={name: example[name] for name in by_name},
        inputs=parse_input_specs(["image:[n=1..9]x3x8x8", "scale:[n=1..9]x1"]),
        sizes={"n": 4},
    )
    assert [value.shape[0] for value in model.graph.inputs] == [4, 4]


def test_example_made_from_inputs(network):
    model = load_model(network, inputs={"image": InputSpec("image", (1, 3, 9, 9))})
    assert tuple(model.graph.inputs[0].shape) == (1, 3, 9, 9)


def test_dynamic_shapes_are_set_by_inputs(network):
    model = load_model(
        network,
        args=(torch.randn(2, 3, 8, 8),),
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )
    assert tuple(model.graph.inputs[0].shape) == (2, 3, 8, 8)
    assert model.graph.outputs[0].shape.is_static()


def test_no_example(network):
    with pytest.raises(EdgecompError, match="without example inputs") as caught:
        load_model(network)
    assert caught.value.code is Code.USAGE


class Noise(torch.nn.Module):
    def forward(self, x):
        return x + torch.rand_like(x)


class Branch(torch.nn.Module):
    def forward(self, x):
        if x.sum() > 0:
            return x
        return -x


class Several(torch.nn.Module):
    def forward(self, x):
        return {"a": x + 1, "b": (x * 2, (x * 3).to(torch.int64))}


def test_an_untraceable_module_names_its_line():
    with pytest.raises(EdgecompError) as caught:
        load_model(Branch(), args=(torch.randn(3),))
    assert caught.value.code is Code.MODEL_INVALID
    assert caught.value.source == f"{HERE}:{line_of('if x.sum() > 0')}"


def test_randomness_is_a_trace_mismatch():
    with pytest.raises(EdgecompError) as caught:
        load_model(Noise(), args=(torch.randn(3),))
    assert caught.value.code is Code.TRACE_MISMATCH


def test_several_outputs():
    model = load_model(Several(), args=(torch.randn(3),))
    assert len(model.graph.outputs) == 3


def test_archive(tmp_path, network):
    path = tmp_path / "model.pt2"
    torch.export.save(torch.export.export(network.eval(), (torch.randn(1, 3, 8, 8),)), path)
    model = load_model(path)
    assert model.graph[0].op_type == "Conv"
    content = path.read_bytes()
    for length in (10, len(content) // 2, len(content) - 30):
        path.write_bytes(content[:length])
        with pytest.raises(EdgecompError) as caught:
            load_model(path)
        assert caught.value.code is Code.MODEL_UNREADABLE
        assert caught.value.path == str(path)


class Payload:
    def __reduce__(self):
        return (pathlib.Path.touch, (pathlib.Path("ran"),))


def test_an_archive_with_code_in_it_is_refused(tmp_path, network, monkeypatch):
    """The pickles in the archive are replaced by one that would run code."""
    monkeypatch.chdir(tmp_path)
    path, bad = tmp_path / "model.pt2", tmp_path / "bad.pt2"
    torch.export.save(torch.export.export(network.eval(), (torch.randn(1, 3, 8, 8),)), path)
    torch.save((Payload(),), tmp_path / "payload.pt")
    payload = (tmp_path / "payload.pt").read_bytes()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(bad, "w") as new:
        replaced = 0
        for name in old.namelist():
            content = old.read(name)
            if name.endswith(".pt") or "example_inputs" in name or "sample_inputs" in name:
                content, replaced = payload, replaced + 1
            new.writestr(name, content)
    assert replaced
    with pytest.raises(EdgecompError) as caught:
        load_model(bad)
    assert caught.value.code is Code.MODEL_UNREADABLE
    assert not (tmp_path / "ran").exists()


ENTRY = """
import torch
from neighbour import WIDTH

def make():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(WIDTH, 3), torch.nn.ReLU()), torch.randn(2, WIDTH)

def keywords():
    return torch.nn.Linear(WIDTH, 3), {"input": torch.randn(2, WIDTH)}

def fails():
    raise RuntimeError("no weights")

def number():
    return 3

def pair():
    return 3, 4
"""


@pytest.fixture
def entry(tmp_path):
    (tmp_path / "neighbour.py").write_text("WIDTH = 6\n")
    path = tmp_path / "net.py"
    path.write_text(ENTRY)
    return path


@pytest.mark.parametrize("name", ["make", "keywords"])
def test_entry(entry, name):
    model = load_model(f"{entry}:{name}")
    assert next(node.op_type for node in model.graph) == "Gemm"


@pytest.mark.parametrize(
    ("name", "part", "source"),
    [
        ("fails", "no weights", "net.py:13"),
        ("number", "returned int, not (module", ""),
        ("pair", "returned int as first value", ""),
        ("mke", "no function 'mke'", ""),
    ],
)
def test_bad_entry(entry, name, part, source):
    with pytest.raises(EdgecompError) as caught:
        load_model(f"{entry}:{name}")
    error = caught.value
    assert error.code is Code.ENTRY_INVALID
    assert part in error.cause
    assert error.source == source
    assert error.hint
    if name == "mke":
        assert "make" in error.hint


def test_entry_that_does_not_import(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("def make(:\n")
    with pytest.raises(EdgecompError) as caught:
        load_model(f"{path}:make")
    assert caught.value.code is Code.ENTRY_INVALID
    assert caught.value.source == "broken.py:1"
    with pytest.raises(EdgecompError) as caught:
        load_model(f"{tmp_path}/none.py:make")
    assert caught.value.code is Code.FILE_MISSING
    with pytest.raises(EdgecompError) as caught:
        load_model("no_such_package.module:make")
    assert caught.value.code is Code.ENTRY_INVALID


def test_not_a_model():
    with pytest.raises(EdgecompError, match="dict is no model"):
        load_model({})


def test_torch_is_imported_only_when_needed(tmp_path):
    import onnx
    from helpers.graphs import Graph

    g = Graph(11)
    path = tmp_path / "m.onnx"
    onnx.save(g.proto(g("Relu", g.input("x", (2, 3)))), path)
    code = (
        "import sys; from edgecomp.frontend.load import load_model\n"
        f"load_model({str(path)!r})\n"
        "from edgecomp.passes.pipeline import float_passes; float_passes()\n"
        "assert 'torch' not in sys.modules and 'tvm' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
