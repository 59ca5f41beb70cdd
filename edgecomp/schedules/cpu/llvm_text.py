"""Functions given as LLVM's text, for ``KernelBuilder.call_llvm``."""

from collections.abc import Sequence

#: Bounds of the results of a tile, each None for none.
Bounds = tuple[float | None, float | None]


def llvm_function(name: str, parameters: str, lines: Sequence[str]) -> str:
    """A function without result that is always inlined.

    Args:
        name: unique per contents.
        parameters: with their types.
        lines: of its body.
    """
    body = "\n  ".join([*lines, "ret void"])
    return (
        f"define internal void @{name}({parameters}) alwaysinline nounwind {{\n  {body}\n}}\n"
    )


def tile_function(
    name: str,
    assembly: Sequence[str],
    *,
    kind: str,
    tile: tuple[int, int],
    pointers: Sequence[str],
    sums_in: str,
    own: Sequence[tuple[str, str]] = (),
    constants: Sequence[tuple[str, str]] = (),
    clobbers: Sequence[str] = (),
) -> str:
    """A function that is one piece of inline assembly, for the sums of a tile of a product.

    Its parameters are pointers to the sums of each row, then the others. Operands of the assembly
    are the sums row by row, the pointers, which it may move, a counter, registers of its own, the
    sums and pointers again, then constants.

    Args:
        name: unique per contents.
        assembly: instructions.
        kind: LLVM's type of a register of sums.
        tile: rows, registers of a row.
        pointers: names of the others.
        sums_in: LLVM's constraint of a register of sums.
        own: type and constraint of registers of its own.
        constants: with their types, and constraints.
        clobbers: what it overwrites beside.
    """
    rows, vectors = tile
    sums = rows * vectors
    lines = []
    for n in range(sums):
        row, vector = divmod(n, vectors)
        lines.append(f"%p{n} = getelementptr {kind}, ptr %sum{row}, i64 {vector}")
        lines.append(f"%a{n} = load {kind}, ptr %p{n}, align 4")
    kinds = [kind] * sums + ["ptr"] * len(pointers) + ["i64", *(each for each, _ in own)]
    constraints = [f"={sums_in}"] * sums + ["=r"] * len(pointers) + ["=&r"]
    constraints += (constraint for _, constraint in own)
    constraints += map(str, range(sums + len(pointers)))
    constraints += (constraint for _, constraint in constants)
    arguments = [f"{kind} %a{n}" for n in range(sums)]
    arguments += [f"ptr %{pointer}" for pointer in pointers]
    arguments += (constant for constant, _ in constants)
    text, results = "\\0A".join(assembly), ", ".join(kinds)
    effects = ",".join([*constraints, *clobbers, "~{memory}"])
    lines.append(
        f'%r = call {{ {results} }} asm sideeffect "{text}", "{effects}"'
        f"({', '.join(arguments)})"
    )
    for n in range(sums):
        lines.append(f"%b{n} = extractvalue {{ {results} }} %r, {n}")
        lines.append(f"store {kind} %b{n}, ptr %p{n}, align 4")
    parameters = [*(f"sum{row}" for row in range(rows)), *pointers]
    return llvm_function(name, ", ".join(f"ptr %{each}" for each in parameters), lines)


def image_tile_function(
    name: str,
    assembly: Sequence[str],
    *,
    scalars: int,
    steps: Sequence[int],
    bounds: Bounds,
    vectors: int,
) -> str:
    """A function that is one piece of inline assembly, for a tile of an image.

    Its parameters are pointers to x, weights and output, then a low and a high bound. Operands
    of the assembly are those pointers, which it may move, scalar registers of its own, the
    three pointers again, the steps, then each bound there is in all lanes.

    Args:
        name: unique per contents.
        assembly: instructions.
        scalars: registers of its own.
        steps: numbers that it wants in registers.
        bounds: of the results.
        vectors: registers that it overwrites, from v0 on.
    """
    lines, limits = [], []
    for side, bound in zip(("low", "high"), bounds, strict=True):
        if bound is None:
            continue
        limits.append(f"<4 x float> %{side}")
        lines.append(f"%{side}1 = insertelement <4 x float> undef, float %{side}0, i32 0")
        lines.append(
            f"%{side} = shufflevector <4 x float> %{side}1, <4 x float> undef, "
            "<4 x i32> zeroinitializer"
        )
    constraints = ["=&r"] * (3 + scalars) + ["0", "1", "2"]
    constraints += ["r"] * len(steps) + ["w"] * len(limits)
    constraints += [f"~{{v{n}}}" for n in range(vectors)]
    numbers = [f"i64 {step}" for step in steps]
    arguments = ", ".join(["ptr %x", "ptr %weights", "ptr %out", *numbers, *limits])
    text = "\\0A".join(assembly)
    effects = ",".join([*constraints, "~{cc}", "~{memory}"])
    results = ", ".join(["ptr"] * 3 + ["i64"] * scalars)
    lines.append(
        f'%r = call {{ {results} }} asm sideeffect "{text}", "{effects}"({arguments})'
    )
    parameters = "ptr %x, ptr %weights, ptr %out, float %low0, float %high0"
    return llvm_function(name, parameters, lines)
