"""What a user can do about an operator that has no schedule."""

import re

#: Operator type, part of the reason it is refused for, what would help. The first that fits both
#: is given; ".*" fits any.
_REWRITES: tuple[tuple[str, str, str], ...] = (
    ("input|output", "element type (STRING|string)", "look strings up before the model"),
    ("input|output", "element type", "cast it to float32 or int32 in the model"),
    ("input|output", "not a tensor", "pass the elements as tensors of their own"),
    ("input|output", "dimensions", "join dimensions that are always used together"),
    (".*", "computed at run time", "make it a constant: export with the value fixed"),
    (".*", "training mode", "call model.eval() before the export"),
    (".*", "the size of '.*' is not known", "mend the operator that this size comes from"),
    ("Conv|ConvTranspose", ".*", "make the weights constants (initializers)"),
    ("Gemm", "rows? of A|one row", "add the matrix after the product"),
    ("Gemm", ".*", "make B and C constants (initializers)"),
    ("Resize", "mode", "resize float32 values"),
    ("Resize", "matrix of weights", "resize in two steps, or linear"),
    ("DFT|STFT", ".*", "transform shorter frames, with their length and step constant"),
    ("If", ".*", "give both branches results of one shape, or fix the condition (--constant)"),
    (
        "Loop|Scan",
        ".*",
        "keep the shapes of what it carries, or let it unroll: fix the number of rounds (--constant)",
    ),
    (
        "NonZero|NonMaxSuppression|Unique|Compress",
        ".*",
        "move it out of the branch or loop, or end the model before it",
    ),
    (
        "Range",
        "the size of its",
        "bound its length: --bound 'NAME_0:[0..100]' with the name of its result",
    ),
    ("Reshape|Expand|Tile|Slice", "the size of its", "export with the sizes fixed"),
    ("String.*|TfIdf.*|RegexFull.*|LabelEncoder", ".*", "handle text before the model"),
    ("Sequence.*|Optional.*|SplitToSequence", ".*", "use tensors: Split and Concat"),
    ("Random.*|Multinomial|Bernoulli", ".*", "draw the numbers outside and pass them in"),
)


def rewrite_for(operator: str, reason: str) -> str:
    """What would help, or "".

    Args:
        operator: ONNX type, or "input" or "output" of the model.
        reason: why it is refused.
    """
    for operators, pattern, advice in _REWRITES:
        if re.fullmatch(operators, operator) and re.search(pattern, reason):
            return advice
    return ""
