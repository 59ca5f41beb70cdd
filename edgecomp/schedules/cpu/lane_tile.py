"""Start and end of a tile of float32 sums on aarch64: loads and stores of several registers.

Sums lie in neighbouring registers, row by row, from v0 on, so that one instruction moves up to
four of them. LLVM joins no more than two, and none whose addresses are far apart.
"""

from edgecomp.schedules.cpu.lane_loads import VECTOR_BYTES
from edgecomp.schedules.cpu.llvm_text import llvm_function

#: Vectors that one instruction moves.
_MOST = 4


def first_sums(rows: int, vectors: int) -> tuple[str, str]:
    """Name and LLVM's text of a function that loads the same vectors into each row's sums.

    Its parameters are pointers to the sums of each row and to the vectors.
    """
    sums, name = rows * vectors, f"lane_first_{rows}x{vectors}"
    parts = _parts(vectors)
    loads = [
        f"ld1 {_registers(row * vectors + start, count)}, [${sums + number}]"
        for row in range(rows)
        for number, (start, count) in enumerate(parts)
    ]
    results = "<4 x float>" if sums == 1 else f"{{ {', '.join(['<4 x float>'] * sums)} }}"
    body = [
        f"%q{number} = getelementptr <4 x float>, ptr %bias, i64 {start}"
        for number, (start, _) in enumerate(parts)
    ]
    text = "\\0A".join(loads)
    constraints = ",".join([*(f"={{v{n}}}" for n in range(sums)), *["r"] * len(parts)])
    pointers = ", ".join(f"ptr %q{number}" for number in range(len(parts)))
    body.append(f'%r = call {results} asm "{text}", "{constraints},~{{memory}}"({pointers})')
    for n in range(sums):
        row, vector = divmod(n, vectors)
        value = "%r"
        if sums > 1:
            value = f"%b{n}"
            body.append(f"{value} = extractvalue {results} %r, {n}")
        body.append(f"%p{n} = getelementptr <4 x float>, ptr %sum{row}, i64 {vector}")
        body.append(f"store <4 x float> {value}, ptr %p{n}, align 4")
    return name, llvm_function(name, _header(rows, "sum", "bias"), body)


def last_sums(rows: int, vectors: int, step: int) -> tuple[str, str]:
    """Name and LLVM's text of a function that stores a tile.

    Its parameters are pointers to the values of each row and to where the first row goes; the
    others follow ``step`` bytes apart.
    """
    sums, name = rows * vectors, f"lane_last_{rows}x{vectors}_{step}".replace("-", "m")
    parts = _parts(vectors)
    body = []
    for n in range(sums):
        row, vector = divmod(n, vectors)
        body.append(f"%p{n} = getelementptr <4 x float>, ptr %value{row}, i64 {vector}")
        body.append(f"%a{n} = load <4 x float>, ptr %p{n}, align 4")
    stores = []
    for row in range(rows):
        for start, count in parts:
            is_last = start + count == vectors
            forward = "$2" if is_last else f"#{VECTOR_BYTES * count}"
            stores.append(f"st1 {_registers(row * vectors + start, count)}, [$0], {forward}")
    to_next = step - VECTOR_BYTES * parts[-1][0]
    constraints = ",".join(["=&r", "0", "r", *(f"{{v{n}}}" for n in range(sums))])
    values = ", ".join(f"<4 x float> %a{n}" for n in range(sums))
    text = "\\0A".join(stores)
    body.append(
        f'%r = call ptr asm sideeffect "{text}", "{constraints},~{{memory}}"'
        f"(ptr %out, i64 {to_next}, {values})"
    )
    return name, llvm_function(name, _header(rows, "value", "out"), body)


def _parts(vectors: int) -> list[tuple[int, int]]:
    """(first, how many) of the vectors that an instruction moves."""
    return [(start, min(_MOST, vectors - start)) for start in range(0, vectors, _MOST)]


def _registers(first: int, count: int) -> str:
    return f"{{{', '.join(f'v{first + n}.4s' for n in range(count))}}}"


def _header(rows: int, row: str, last: str) -> str:
    return ", ".join([*(f"ptr %{row}{n}" for n in range(rows)), f"ptr %{last}"])
