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
#: Hundredths of the files that are held out.
_VALIDATION, _TEST = 3, 5


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
        parts[_part_of(str(name))].append(numbers[content])
    return {part: np.concatenate(texts) for part, texts in parts.items()}


def _part_of(name):
    share = int(hashlib.sha256(name.encode()).hexdigest(), 16) % 100
    if share < _VALIDATION:
        return "validation"
    return "test" if share < _VALIDATION + _TEST else "training"
