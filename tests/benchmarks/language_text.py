"""Text for a small language model: the sources of Python's own standard library.

They are under the licence of the Python Software Foundation, lie beside every Python and are read
where they lie; nothing of them is stored. Characters are the printable ones of ASCII and the line
break.
"""

import hashlib
import pathlib
import sysconfig

import numpy as np

#: Folders that hold tables and test data rather than text that people wrote.
_LEFT_OUT = frozenset(
    {"__pycache__", "encodings", "idle_test", "site-packages", "test", "tests"}
)
ALPHABET = "\n" + "".join(map(chr, range(32, 127)))
#: Hundredths of the files that are held out, and that are trained on. The rest is left: with all
#: of it, training takes hours until a small transformer passes what an n-gram model can count.
_VALIDATION, _TEST, _TRAINING = 3, 5, 36


def read_text(folder=None):
    """Character numbers of three parts, uint8 each: training, validation, test.

    A file is in one part whole, by a hash of its name, so that no part depends on the others.
    """
    root = pathlib.Path(folder or sysconfig.get_path("stdlib"))
    numbers = np.zeros(256, np.uint8)
    for index, character in enumerate(ALPHABET):
        numbers[ord(character)] = index
    known = np.frombuffer(ALPHABET.encode(), np.uint8)
    parts = {"training": [], "validation": [], "test": []}
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root)
        if _LEFT_OUT.intersection(name.parts):
            continue
        content = np.frombuffer(path.read_bytes().replace(b"\t", b"    "), np.uint8)
        content = content[np.isin(content, known)]
        part = _part_of(str(name))
        if part:
            parts[part].append(numbers[content])
    return {part: np.concatenate(texts) for part, texts in parts.items()}


def _part_of(name):
    share = int(hashlib.sha256(name.encode()).hexdigest(), 16) % 100
    if share < _VALIDATION:
        return "validation"
    if share < _VALIDATION + _TEST:
        return "test"
    return "training" if share < _VALIDATION + _TEST + _TRAINING else ""


def train_tokenizer(text, size):
    """Byte pairs of a text, merged most frequent first, until there are ``size`` tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=size, show_progress=False)
    tokenizer.train_from_iterator(_pieces(text), trainer)
    return tokenizer


def tokenize(tokenizer, text):
    """Token numbers of a text, and how many characters each stands for."""
    encoded = tokenizer.encode_batch(list(_pieces(text)))
    tokens = np.concatenate([np.array(each.ids, np.int64) for each in encoded])
    lengths = np.concatenate([[b - a for a, b in each.offsets] for each in encoded])
    return tokens, lengths.astype(np.int64)


def _pieces(text, lines=200):
    """The text in parts that end with a line."""
    ends = np.flatnonzero(text == 0)[lines - 1 :: lines] + 1
    letters = np.frombuffer(ALPHABET.encode(), np.uint8)
    for part in np.split(text, ends):
        if len(part):
            yield letters[part].tobytes().decode()
