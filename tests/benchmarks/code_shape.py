"""What a compiler made of a kernel: bytes, and the instructions of its main loop by class.

The main loop is the innermost loop with the most multiplies, where there is none the longest.
Unrolled kernels have several: the one of the largest tile counts.
"""

import collections
import re
import shutil
import subprocess

#: Class -> instructions that multiply or add products, of all instruction sets here.
_MULTIPLY = re.compile(
    r"(vf(n?m)(add|sub)\w*|vmulp[sd]|vpmadd\w+|vpdp\w+|vpmull\w|fml[as]|[su]dot|usdot|[su]?mmla"
    r"|[su]ml[as]l2?|[su]mull2?|mla|vml[as]\w*|vfm[as]\w*|vmul\w*|vmull\w*|fmul)(\.\w+)*$"
)
_LOAD = re.compile(r"(ld\w*|vld\w*|vldr|ldr\w*|prfm|prefetch\w*|pld)(\.\w+)*$")
_STORE = re.compile(r"(st[rpu1-4]\w*|vst\w*|str\w*)(\.\w+)*$")
_BRANCH = re.compile(
    r"(j\w+|b|b\.\w+|b(eq|ne|lt|gt|le|ge|hs|lo|hi|ls|mi|pl)|cbn?z|tbn?z|loop\w*)$"
)
_COMPARE = re.compile(r"(cmp|test|subs|cmn|tst)$")
_MEMORY = re.compile(r"\bptr \[")  # x86: the others name their loads and stores
_SYMBOL = re.compile(r"^[0-9a-f]+ <(.+)>:$")
_INSTRUCTION = re.compile(r"^\s*([0-9a-f]+):\s+(\S+)\s*(.*)$")
_CLASSES = ("multiply", "load", "store", "vector", "scalar", "branch")


def find_objdump():
    """The newest llvm-objdump there is; None where there is none."""
    names = [*(f"llvm-objdump-{version}" for version in range(25, 14, -1)), "llvm-objdump"]
    return next(filter(None, map(shutil.which, names)), None)


def disassemble(path, symbol, objdump):
    """(address, mnemonic, operands) of one function of a relocatable object."""
    command = [objdump, "-d", "--no-show-raw-insn", "--mattr=+all", "--x86-asm-syntax=intel"]
    done = subprocess.run([*command, str(path)], capture_output=True, text=True, check=True)
    code, inside = [], False
    for line in done.stdout.splitlines():
        if head := _SYMBOL.match(line):
            inside = head[1] == symbol
        elif inside and (found := _INSTRUCTION.match(line)):
            operands = re.split(r"//|#(?!-?\d)|<$", found[3])[0].strip()
            code.append((int(found[1], 16), found[2], operands))
    return code


def main_loop(code):
    """Its instructions, [] where there is no loop."""
    places = {address: place for place, (address, _, _) in enumerate(code)}
    spans = []
    for place, (_, mnemonic, operands) in enumerate(code):
        target = re.search(r"(?:0x)?([0-9a-f]+) <", operands)
        if target and _BRANCH.match(mnemonic):
            start = places.get(int(target[1], 16), place + 1)
            if start <= place:
                spans.append((start, place))
    bodies = [code[a : b + 1] for a, b in innermost(spans)]
    return max(bodies, key=lambda body: (_multiplies(body), len(body)), default=[])


def innermost(spans):
    """Those (first, last) that contain no other."""
    return [
        (a, b)
        for a, b in spans
        if not any((a, b) != o and a <= o[0] and o[1] <= b for o in spans)
    ]


def classes(body):
    """Class -> instructions; a multiply that reads memory counts as one, with its load named."""
    found = collections.Counter(class_of(mnemonic, operands) for _, mnemonic, operands in body)
    folded = sum(1 for _, m, o in body if class_of(m, o) == "multiply" and _MEMORY.search(o))
    counts = {name: found[name] for name in _CLASSES if found[name]}
    return counts | ({"of these from memory": folded} if folded else {})


def class_of(mnemonic, operands):
    """One of ``_CLASSES``."""
    if _BRANCH.match(mnemonic) or _COMPARE.match(mnemonic):
        return "branch"
    vector = re.search(r"\b([xyz]mm|v\d+\.|q\d+|d\d+)", operands)
    if vector and _MULTIPLY.match(mnemonic):
        return "multiply"
    if _STORE.match(mnemonic) or (
        re.match(r"v?mov|vpmov", mnemonic) and _MEMORY.search(operands.split(",")[0])
    ):
        return "store"
    if _LOAD.match(mnemonic) or (
        re.match(r"v?mov|v?p?broadcast|vpmov", mnemonic) and _MEMORY.search(operands)
    ):
        return "load"
    return "vector" if vector else "scalar"


def _multiplies(body):
    return sum(class_of(mnemonic, operands) == "multiply" for _, mnemonic, operands in body)
