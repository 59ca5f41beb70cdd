"""What fine-tuning gives back of what 8 bits take from a depthwise network.

    python tests/benchmarks/quantization_aware.py [--seeds 3] [--epochs 12] [--rates 3e-4,1e-3]

The digits network of examples/digits (98 % and more of 2,000 test images) in two forms: as it
is, and with the channels in front of and behind each depthwise convolution scaled by random powers
of two, by which a float network computes the same and one scale per weight tensor does not suffice
(Nagel, van Baalen, Blankevoort, Welling, "Data-Free Quantization through Weight Equalization and
Bias Correction", ICCV 2019). It is quantized with its 256 calibration images and fine-tuned on the
same images, without labels: to answer as the float network does. Seeds draw the powers and the
order of images. Accuracies are those of the written files in onnxruntime.
"""

import itertools
import pathlib
import sys
import time

import numpy as np
import torch

ROOT = pathlib.Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from benchmarks.flags import new_parser  # noqa: E402
from helpers.models import digits, digits_data  # noqa: E402

from edgecomp.graph.constants import constant_array  # noqa: E402
from edgecomp.graph.run import Runner  # noqa: E402
from edgecomp.options import QuantizeOptions  # noqa: E402
from edgecomp.progress import silent  # noqa: E402
from edgecomp.steps.prepare import prepare  # noqa: E402
from edgecomp.train import Network, finetune  # noqa: E402

BATCH = 32


def float_model():
    """The digits network after the float passes."""
    return prepare(digits().clone(), QuantizeOptions(), silent).model


def rescaled(model, spread, seed):
    """Channels between layers scaled by 2^u, u uniform in -spread..spread; the results stay."""
    import onnx_ir as ir

    model = model.clone()
    rng = np.random.default_rng(seed)
    layers = [node for node in model.graph if node.op_type == "Conv"]

    def scale(value, factor, axis):
        array = constant_array(value)
        along = [-1 if d == axis else 1 for d in range(array.ndim)]
        value.const_value = ir.Tensor(
            (array * factor.reshape(along)).astype(np.float32), name=value.name
        )

    for before, after in itertools.pairwise(layers):
        channels = constant_array(before.inputs[1]).shape[0]
        factor = 2.0 ** rng.uniform(-spread, spread, channels)
        scale(before.inputs[1], factor, 0)
        scale(before.inputs[2], factor, 0)
        depthwise = after.attributes.get_int("group", 1) > 1
        scale(after.inputs[1], 1 / factor, 0 if depthwise else 1)
    return model


def accuracy(model):
    """Per cent of the test images that are told."""
    images, labels, _ = digits_data()
    runner, name = Runner(model), model.graph.inputs[0].name
    told = [next(iter(runner({name: image[None]}).values())).argmax() for image in images]
    return 100 * float((np.array(told) == labels).mean())


def batches(seed, epochs):
    """All images in a new order each time, ``epochs`` times."""
    images, generator = digits_data()[2], torch.Generator().manual_seed(seed)
    return [
        torch.from_numpy(images[part.numpy()])
        for _ in range(epochs)
        for part in torch.randperm(len(images), generator=generator).split(BATCH)
    ]


def subjects(spread):
    """Name, whether channels are rescaled, and how weights are quantized."""
    yield "as trained, scale per channel", 0.0, True
    yield "as trained, scale per tensor", 0.0, False
    yield f"channels times 2^+-{spread:g}, scale per channel", spread, True
    yield f"channels times 2^+-{spread:g}, scale per tensor", spread, False


def main():
    """Print the table."""
    parser = new_parser(__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--rates", default="3e-4,1e-3", help="of weights and of steps")
    parser.add_argument("--spread", type=float, default=2.0)
    parser.add_argument("--only", default="", help="subjects with this in their name")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rates = [float(each) for each in arguments.rates.split(",")]
    plain = float_model()
    print(f"float: {accuracy(plain):.2f} %\n")
    print(
        "| network and weights | seed | quantized, % | fine-tuned, % | loss before | after | s |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|")
    samples = [{plain.graph.inputs[0].name: image[None]} for image in digits_data()[2]]
    for name, spread, per_channel in subjects(arguments.spread):
        if arguments.only not in name:
            continue
        for seed in range(arguments.seeds):
            model = rescaled(plain, spread, seed) if spread else plain
            options = QuantizeOptions(
                precision="w8a8", per_channel=per_channel, num_samples=len(samples)
            )
            quantized = prepare(model.clone(), options, silent, dataset=samples).model
            began = time.process_time()
            found = finetune(
                quantized, batches(seed, arguments.epochs), teacher=Network(model),
                learning_rate=rates[0], step_learning_rate=rates[1],
            )  # fmt: skip
            seconds = time.process_time() - began
            print(
                f"| {name} | {seed} | {accuracy(quantized):.2f} | {accuracy(found.model):.2f} "
                f"| {loss(quantized, model):.5f} | {loss(found.model, model):.5f} | {seconds:.0f} |",
                flush=True,
            )


def loss(model, teacher):
    """The distillation loss on the test images."""
    from edgecomp.train import distillation_loss

    images = torch.from_numpy(digits_data()[0])
    with torch.no_grad():
        outputs = [
            torch.cat([net(part) for part in images.split(100)])
            for net in (Network(model), Network(teacher))
        ]
    return float(distillation_loss(*outputs))


if __name__ == "__main__":
    main()
