"""What files of 8 bits make of PP-OCRv6's lines of news, by kinds of errors, beside float.

    python tests/benchmarks/text_errors.py FLOAT.onnx FILE.onnx [FILE.onnx ...] [--first 20000] [--lines 1000]

FLOAT.onnx and the files are those of ``quantized_accuracy.py`` and ``quantize_by.py``. Of each file:
characters lost of float's in per cent with the standard error over lines; columns whose character
changes, to the blank, from it, or to another; the mean confidence; and how much less likely the true
text is (the CTC loss, in nats a line), which all columns count in, and not only those that turn.
A file that onnxruntime's optimizer breaks runs without it.
"""

import pathlib
import sys

import numpy as np

ROOT = pathlib.Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from benchmarks.flags import new_parser  # noqa: E402
from real_models import forms, ocr_news, ocr_recognition  # noqa: E402

_LEAST_LIKELY = 1e-12


def text_loss(scores, classes):
    """-log of the likelihood of a text: CTC's forward sums over all its alignments.

    Args:
        scores: probabilities [columns, classes]; class 0 is the blank.
        classes: of the text's characters.
    """
    extended = np.zeros(2 * len(classes) + 1, int)
    extended[1::2] = classes
    logs = np.log(np.maximum(scores[:, extended].astype(np.float64), _LEAST_LIKELY))
    may_skip = np.zeros(len(extended), bool)
    may_skip[3::2] = extended[3::2] != extended[1:-2:2]
    sums = np.full(len(extended), -np.inf)
    sums[:2] = logs[0, :2]
    for column in logs[1:]:
        step = np.append(-np.inf, sums)[:-1]
        skip = np.where(may_skip, np.append([-np.inf] * 2, sums)[:-2], -np.inf)
        sums = np.logaddexp(np.logaddexp(sums, step), skip) + column
    return -float(np.logaddexp.reduce(sums[-2:]))


def read_lines(path, first, count):
    """Right characters, characters, classes and confidences of the columns, losses; by line."""
    known = {character: index for index, character in enumerate(ocr_recognition.characters())}
    for rewrite in (True, False):
        try:
            run = forms.onnxruntime_session(path, rewrite=rewrite)
            break
        except Exception:
            if not rewrite:
                raise
    found = []
    for index in range(first, first + count):
        scores = run(ocr_news.feed(index))[0][0]
        classes = [known[character] for character in ocr_news.text_of(index)]
        loss = text_loss(scores, classes)
        found.append((*ocr_news.read(index, scores), scores.argmax(-1), scores.max(-1), loss))
    return [np.array(column) for column in zip(*found, strict=True)]


def row(name, found, expected):
    """One line of the table."""
    lost = expected[0] - found[0]
    error = np.sqrt(len(lost) * lost.var(ddof=1))
    one, other = expected[2], found[2]
    changed = one != other
    kinds = (changed & (other == 0), changed & (one == 0), changed & (one != 0) & (other != 0))
    loss = (found[4] - expected[4]).mean()
    return (
        f"| {name} | {100 * lost.sum() / expected[0].sum():.2f} "
        f"± {100 * error / expected[0].sum():.2f} | "
        + " | ".join(f"{100 * kind.mean():.2f} %" for kind in kinds)
        + f" | {found[3].mean():.4f} | {loss:+.3f} |"
    )


def main():
    """Print the table."""
    parser = new_parser(__doc__)
    parser.add_argument("float", type=pathlib.Path)
    parser.add_argument("files", type=pathlib.Path, nargs="+")
    parser.add_argument(
        "--first", type=int, default=20000, help="line; the task has the first 2,000"
    )
    parser.add_argument("--lines", type=int, default=1000)
    arguments = parser.parse_args()
    lines = (arguments.first, arguments.lines)
    expected = read_lines(arguments.float, *lines)
    print("| file | lost, % | to blank | from blank | to another | confidence | loss |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    print(f"| float | | | | | {expected[3].mean():.4f} | |")
    for path in arguments.files:
        print(row(path.stem, read_lines(path, *lines), expected), flush=True)


if __name__ == "__main__":
    main()
