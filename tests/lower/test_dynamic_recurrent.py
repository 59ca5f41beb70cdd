"""Recurrent layers as torch exports them, at any batch and length, beside torch."""

import warnings

import pytest

torch = pytest.importorskip(
    "torch", reason="torch is not installed (pip install 'edgecomp[torch]')"
)

import numpy as np  # noqa: E402
from helpers.dynamic import dynamic_plan, link  # noqa: E402


class Tagger(torch.nn.Module):
    """A label for each step, and one for each of a batch."""

    def __init__(self, cell):
        super().__init__()
        self.cell = cell
        self.each = torch.nn.Linear(12, 3)

    def forward(self, x):
        steps = self.each(torch.relu(self.cell(x)[0]))
        return steps, steps.mean(1)


def exported(cell, dynamic_shapes):
    """torch writes the length of its example into what is behind a recurrent layer."""
    torch.manual_seed(0)
    module = Tagger(cell(8, 6, batch_first=True, bidirectional=True)).eval()
    example = (torch.randn(2, 5, 8),)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of what it will drop
        program = torch.onnx.export(
            module, example, dynamic_shapes=dynamic_shapes, dynamo=True, verbose=False
        )
    return module, program.model_proto


@pytest.mark.parametrize("cell", [torch.nn.LSTM, torch.nn.GRU])
def test_beside_torch(tmp_path, rng, cell):
    size = torch.export.Dim.AUTO
    module, proto = exported(cell, {"x": {0: size, 1: size}})
    shapes = [value.type.tensor_type.shape.dim for value in proto.graph.value_info]
    assert any(len(dims) == 3 and dims[1].dim_value == 5 for dims in shapes)
    plan = dynamic_plan(proto, ["x:[1..4]x[1..20]x8"], "tagger")
    session = link([plan], tmp_path)("tagger", threads=2)
    for batch, length in ((4, 20), (2, 5), (1, 1), (3, 7), (4, 19)):
        x = rng.standard_normal((batch, length, 8)).astype(np.float32)
        with torch.no_grad():
            expected = module(torch.from_numpy(x))
        for found, one in zip(session.run({"x": x}).values(), expected, strict=True):
            np.testing.assert_allclose(found, one.numpy(), rtol=2e-5, atol=2e-5)
    session.close()
