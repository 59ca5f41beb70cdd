"""From a torch module to a trained bundle, and what the loop refuses."""

import numpy as np
import pytest
import torch

import edgecomp
from edgecomp import train
from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.constants import constant_array
from edgecomp.options import QuantizeOptions
from edgecomp.train.loss import distillation_loss


class Tiny(torch.nn.Module):
    """Convolution, normalisation, activation, mean, product."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv2d(1, 8, 3, 2, bias=False)
        self.norm, self.head = torch.nn.BatchNorm2d(8), torch.nn.Linear(8, 4)

    def forward(self, x):
        return self.head(torch.relu(self.norm(self.conv(x))).mean((2, 3)))


EXAMPLE = (torch.zeros(1, 1, 12, 12),)


@pytest.fixture
def samples(rng):
    return rng.standard_normal((64, 1, 12, 12)).astype(np.float32)


@pytest.fixture
def quantized(samples):
    return edgecomp.quantize(Tiny().eval(), samples, args=EXAMPLE)


def labelled(samples):
    labels = torch.from_numpy((samples.mean((1, 2, 3)) > 0).astype(np.int64))
    return [(samples[i : i + 16], labels[i : i + 16]) for i in range(0, 64, 16)]


def test_labels_are_learned_and_built(samples, quantized, tmp_path):
    batches = labelled(samples)
    found = train.finetune(
        quantized, batches, torch.nn.functional.cross_entropy, epochs=12, learning_rate=0.01
    )
    assert found.losses[-1] < 0.7 * found.losses[0]
    bundle = edgecomp.compile(found.model, output=tmp_path / "bundle", name="tiny")
    assert edgecomp.verify(bundle).checks
    network = train.Network(found.model)
    with torch.no_grad():
        expected = network(samples[:8]).numpy()
    name, result = bundle.inputs[0].name, bundle.outputs[0].name
    own = np.concatenate([bundle.run({name: s[None]})[result] for s in samples[:8]])
    assert np.abs(own - expected).max() < 0.02 * np.ptp(expected)


def test_the_float_model_is_learned_without_labels(samples):
    """The whole way: channels of unlike ranges with one scale for all of them."""
    module = Tiny().eval()
    with torch.no_grad():
        module.norm.weight *= torch.logspace(-2, 1, 8)
        module.head.weight /= torch.logspace(-2, 1, 8)
    options = QuantizeOptions(precision="w8a8", per_channel=False)
    given = {"calibration_dataset": samples, "options": options, "args": EXAMPLE}
    before = edgecomp.quantize(module, samples, options=options, args=EXAMPLE)
    batches = [samples[i : i + 16] for i in range(0, 64, 16)]
    after = edgecomp.finetune(module, batches, **given, epochs=10, learning_rate=5e-3)
    with torch.no_grad():
        wanted = module(torch.from_numpy(samples))
        losses = [
            float(distillation_loss(train.Network(m)(samples), wanted))
            for m in (before, after)
        ]
    assert losses[1] < 0.5 * losses[0]


def test_a_run_is_repeatable(samples, quantized):
    runs = [
        train.finetune(quantized, labelled(samples), torch.nn.functional.cross_entropy)
        for _ in range(2)
    ]
    for name, value in runs[0].model.graph.initializers.items():
        other = runs[1].model.graph.initializers[name]
        np.testing.assert_array_equal(constant_array(value), constant_array(other))


def test_inputs_by_name(samples, quantized):
    name = quantized.graph.inputs[0].name
    batches = [({name: part}, labels) for part, labels in labelled(samples)]
    train.finetune(quantized, batches, torch.nn.functional.cross_entropy)
    with pytest.raises(EdgecompError, match="a batch has no input"):
        train.finetune(quantized, [({"other": samples}, 0)], torch.nn.functional.mse_loss)


@pytest.mark.parametrize(
    ("settings", "batches", "problem"),
    [
        ({"loss": torch.nn.functional.mse_loss, "epochs": 0}, [], "epochs must be 1 or more"),
        ({}, [], "either a loss"),
        ({"loss": torch.nn.functional.mse_loss}, [], "there is no batch"),
        ({"loss": torch.nn.functional.mse_loss}, [np.zeros((1, 1, 12, 12))], "not a pair"),
    ],
)
def test_what_cannot_be_trained_with(quantized, settings, batches, problem):
    with pytest.raises(EdgecompError, match=problem) as caught:
        train.finetune(quantized, batches, **settings)
    assert caught.value.code is Code.USAGE


def test_a_generator_is_read_once(samples, quantized):
    with pytest.raises(EdgecompError, match="could be read once"):
        train.finetune(
            quantized, iter(labelled(samples)), torch.nn.functional.cross_entropy, epochs=2
        )


def test_a_diverging_loss_ends_the_run(samples, quantized):
    with pytest.raises(EdgecompError, match="diverged"):
        train.finetune(quantized, labelled(samples), lambda y, _: y.sum() * torch.inf)


def test_a_quantized_model_has_no_teacher(samples, quantized):
    with pytest.raises(EdgecompError, match="no float model to learn from"):
        edgecomp.finetune(quantized, [samples])


def test_without_a_recipe_nothing_is_trained(samples, quantized, tmp_path):
    options = QuantizeOptions(precision="w8a8", save_recipe=tmp_path / "r.yaml")

    def never(*_given):
        raise AssertionError

    with pytest.raises(EdgecompError, match="there is no recipe of it"):
        edgecomp.finetune(quantized, labelled(samples), never, options=options)


def test_it_is_written_where_asked(samples, tmp_path):
    options = QuantizeOptions(precision="w8a8", output=tmp_path / "tuned.onnx")
    edgecomp.finetune(
        Tiny().eval(), [samples], calibration_dataset=samples, args=EXAMPLE, options=options
    )
    train.Network(edgecomp.export(str(tmp_path / "tuned.onnx")))


def test_losses():
    teacher = torch.tensor([[2.0, 0.0], [0.0, 4.0]])
    assert float(distillation_loss(teacher, teacher)) == 0
    assert float(distillation_loss(teacher, teacher, temperature=2.0)) == 0
    other = teacher + 1
    assert float(distillation_loss(other, teacher)) == pytest.approx(1 / 2.75)
    # Softmax does not see what is added to all logits.
    assert float(distillation_loss(other, teacher, temperature=2.0)) == pytest.approx(
        0, abs=1e-6
    )
    pairs = distillation_loss((other, teacher), (teacher, teacher))
    assert float(pairs) == pytest.approx(0.5 / 2.75)
