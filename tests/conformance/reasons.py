"""The reviewed list of tests that fail, by reason: ``failures.txt``, one ``name reason`` a line."""

import pathlib

LIST = pathlib.Path(__file__).with_name("failures.txt")

#: Reason -> what it stands for; the first four are outside what a device's inference needs.
REASONS = {
    "strings": "tensors of strings",
    "sequences": "sequences, optionals and maps",
    "training": "optimizers, gradients, batch statistics, dropout that drops",
    "random": "results drawn at random",
    "image-files": "decoders of image files",
    "classic-ml": "the ai.onnx.ml domain and text vectorizers",
    "data-dependent-shape": "results whose size depends on the contents of a tensor",
    "opset": "onnx's own converter cannot bring the model to the internal opset",
    "control-flow": "Scan of opset 8, which has a batch dimension",
    "half-rounding": "float16 chains that are not rounded after every step",
    "reference-rounding": "the expected numbers are further from the real ones than the tolerance",
    "no-kernel": "operators or attributes without an implementation yet",
    "wrong": "built, and gives other numbers",
}

_STRINGS = ("string", "strnorm", "regex")
_SEQUENCES = ("sequence", "optional", "if_seq", "if_opt", "loop13_seq", "loop16_seq")
_TRAINING = ("adagrad", "adam", "momentum", "gradient", "batchnorm", "training_dropout")
_CLASSIC = ("ai_onnx_ml", "tfidf", "label_encoder", "tree_ensemble")
_RANDOM = ("bernoulli", "randomuniform")


def read_list() -> dict[str, str]:
    """Test name -> reason."""
    lines = LIST.read_text(encoding="utf-8").splitlines() if LIST.exists() else []
    pairs = (line.split() for line in lines if line and not line.startswith("#"))
    return dict(pairs)


def write_list(found: dict[str, str]) -> None:
    """Write the list, sorted by reason and name."""
    head = "# Tests of the ONNX backend suite that fail. Lines may go, never come.\n"
    rows = sorted(found.items(), key=lambda item: (list(REASONS).index(item[1]), item[0]))
    LIST.write_text(head + "".join(f"{n} {r}\n" for n, r in rows), encoding="utf-8")


def propose(name: str, stage: str, problem: str) -> str:
    """A reason from the name and the error, for a person to review."""
    if "EC0107" in problem:
        return "sequences" if _has(name, _SEQUENCES) else "data-dependent-shape"
    for reason, parts in (
        ("strings", _STRINGS),
        ("sequences", _SEQUENCES),
        ("classic-ml", _CLASSIC),
        ("random", _RANDOM),
        ("training", _TRAINING),
    ):
        if _has(name, parts):
            return reason
    if "image_decoder" in name:
        return "image-files"
    if "not tensors" in problem:
        return "sequences"
    if name.startswith(("test_if", "test_loop", "test_scan")):
        return "control-flow"
    if _has(name, ("nonzero", "unique", "compress", "nonmaxsuppression")):
        return "data-dependent-shape"
    if "EC0301" in problem:
        return "opset"
    if stage == "compare":
        return "half-rounding" if "fp16" in name or "float16" in name else "wrong"
    return "no-kernel"


def _has(name: str, parts: tuple[str, ...]) -> bool:
    return any(part in name for part in parts)
