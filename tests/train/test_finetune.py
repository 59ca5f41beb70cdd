"""From a torch module to a trained bundle, and what the loop refuses."""

import numpy as np
import pytest
import torch
from helpers.graphs import Graph, normal

import edgecomp
from edgecomp import train
from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.constants import constant_array
from edgecomp.options import BudgetOptions, QuantizeOptions
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


def tiny(factors=1.0):
    """The same layers; channels between them scaled by factors that the head takes back."""
    random, factors = np.random.default_rng(0), np.full(8, factors, np.float32)
    weights = normal(random, 8, 1, 3, 3) / 3 * factors.reshape(8, 1, 1, 1)
    head = normal(random, 8, 4) / 3 / factors.reshape(8, 1)
    g = Graph()
    y = g("Conv", g.input("x", (1, 1, 12, 12)), weights, normal(random, 8) / 3 * factors)
    y = g("Flatten", g("GlobalAveragePool", g("Relu", y)))
    return g.model(g("Gemm", y, head, normal(random, 4) / 3))


@pytest.fixture(scope="module")
def samples():
    return np.random.default_rng(0).standard_normal((64, 1, 12, 12)).astype(np.float32)


@pytest.fixture(scope="module")
def quantized(samples):
    """Training changes none of it: all tests share it."""
    return edgecomp.quantize(tiny(), samples)


def labelled(samples, size=16):
    labels = torch.from_numpy((samples.mean((1, 2, 3)) > 0).astype(np.int64))
    return [(samples[i : i + size], labels[i : i + size]) for i in range(0, 64, size)]


def numbers(model):
    return {name: constant_array(v) for name, v in model.graph.initializers.items()}


def test_labels_are_learned_and_built(samples, quantized, tmp_path):
    batches = labelled(samples, 32)
    found = train.finetune(
        quantized, batches, torch.nn.functional.cross_entropy, epochs=6, learning_rate=0.03
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
    """Channels of unlike ranges with one scale for all of them."""
    options = QuantizeOptions(
        precision="w8a8", per_channel=False, bias_correction=False, range_trials=False
    )
    given = {"calibration_dataset": samples, "options": options}
    model = tiny(np.logspace(-2, 1, 8))
    before = edgecomp.quantize(model.clone(), samples, options=options)
    batches = [samples[i : i + 16] for i in range(0, 64, 16)]
    after = edgecomp.finetune(model, batches, **given, epochs=10, learning_rate=5e-3)
    with torch.no_grad():
        wanted = train.Network(model)(samples)
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
    first, second = (numbers(run.model) for run in runs)
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])


def test_batches_that_nobody_counted_are_trained_with(samples, quantized):
    """The first has a rate that is not zero, and so have those behind it."""
    batches = labelled(samples)
    found = [
        numbers(train.finetune(quantized, iter(some), torch.nn.functional.cross_entropy).model)
        for some in (batches[:1], batches)
    ]
    assert any((array != found[1][name]).any() for name, array in found[0].items())


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
        ({"loss": torch.nn.functional.mse_loss, "learning_rate": -1e-4}, [], "not -0.0001"),
        ({"loss": torch.nn.functional.mse_loss, "step_learning_rate": np.inf}, [], "not inf"),
        ({"teacher": lambda x: x}, [np.zeros((1, 1, 12, 12))], "its teacher"),
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


def test_no_budget_is_searched(samples):
    options = BudgetOptions(precision="w8a8", max_bytes=100)
    with pytest.raises(EdgecompError, match="not trained and searched") as caught:
        edgecomp.finetune(Tiny(), [samples], options=options)
    assert caught.value.code is Code.USAGE


def test_what_is_fixed_at_build_time_is_fixed_once(rng):
    """The float model and the quantized one are read from the same source."""
    g = Graph()
    x = g("Conv", g.input("x", ("n", 3, 8, 8)), normal(rng, 4, 3, 3, 3))
    model = g.proto(g("Mul", x, g.input("gain", (1,))))
    options = QuantizeOptions(precision="w8a8", input=("x:1x3x8x8",), constant=("gain=2",))
    data = [{"x": normal(rng, 1, 3, 8, 8)} for _ in range(2)]
    tuned = edgecomp.finetune(model, data, calibration_dataset=data, options=options)
    assert [value.name for value in tuned.graph.inputs] == ["x"]


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
    """The whole way, from a torch module to the file."""
    given = {"calibration_dataset": samples, "args": (torch.zeros(1, 1, 12, 12),)}
    options = QuantizeOptions(precision="w8a8", output=tmp_path / "tuned.onnx")
    edgecomp.finetune(Tiny().eval(), [samples], **given, options=options)
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
