"""What 4-bit weights under 8-bit activations take from MiniLM: roundings, and groups of scales.

    python tests/benchmarks/four_bits.py [--documents 200] [--samples 24]
        [FORM ...]

A form is a precision, and behind colons a method and a group size: ``w8a8``, ``w4a8:rtn``,
``w4a8:gptq:64``. Prints how near the sentence vectors are to the float model's (mean over documents
that calibration does not see) and how many documents are told by their topic. Models are run by
onnxruntime with its optimizer off, which computes what the portable file says.
"""

import argparse
import pathlib
import sys
import tempfile

import numpy as np

ROOT = pathlib.Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from real_models import minilm  # noqa: E402

from edgecomp.graph.run import Runner  # noqa: E402
from edgecomp.options import QuantizeOptions  # noqa: E402
from edgecomp.progress import silent  # noqa: E402
from edgecomp.steps.prepare import prepare  # noqa: E402

_FORMS = ("fp32", "w8a8", "w4a8:rtn", "w4a8:gptq", "w4a8:gptq:128", "w4a8:gptq:64",
          "w4a8:gptq:32", "w4a8:rtn:32", "w4a16:gptq:64")  # fmt: skip


def options_of(form, samples):
    """A form as options."""
    precision, method, group = (*form.split(":"), "", "")[:3]
    settings = {"method": method} if method else {}
    settings |= {"group_size": int(group)} if group else {}
    return QuantizeOptions(precision=precision, num_samples=samples, **settings)


def vectors_of(model, documents):
    """[documents, width], float64."""
    runner = Runner(model, optimize=False)
    (name,) = runner.names[:1]
    found = [np.asarray(runner(minilm.feed(text))[name]).reshape(-1) for text in documents]
    return np.array(found, np.float64)


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("forms", nargs="*", default=list(_FORMS))
    parser.add_argument("--documents", type=int, default=200)
    parser.add_argument("--samples", type=int, default=24)
    arguments = parser.parse_args()
    told = minilm.told_documents(arguments.documents)
    texts, topics = [text for text, _ in told], [topic for _, topic in told]
    calibration = list(minilm.calibration())[: arguments.samples]
    with tempfile.TemporaryDirectory() as folder:
        path = str(minilm.onnx_file(pathlib.Path(folder)))
        reference = None
        print("| form | dB | mean cosine | least | topics told |\n|---|---:|---:|---:|---:|")
        for form in dict.fromkeys(["fp32", *arguments.forms]):
            data = None if form == "fp32" else calibration
            model = prepare(
                path, options_of(form, len(calibration)), silent, dataset=data
            ).model
            found = vectors_of(model, texts)
            reference = found if reference is None else reference
            noise = ((found - reference) ** 2).sum() / (reference**2).sum()
            sizes = np.linalg.norm(found, axis=1) * np.linalg.norm(reference, axis=1)
            cosine = (found * reference).sum(1) / sizes
            right = np.mean(
                [t == minilm.tell(v[None])[0] for v, t in zip(found, topics, strict=True)]
            )
            level = "" if noise == 0 else f"{-10 * np.log10(noise):.1f}"
            print(f"| {form} | {level} | {cosine.mean():.5f} | {cosine.min():.5f} "
                  f"| {100 * right:.1f} % |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
