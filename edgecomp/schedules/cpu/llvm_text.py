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
