from edgecomp.schedules.builder import KernelBuilder, load


def strided(first, second):
    builder = KernelBuilder()
    x = builder.pointer("x", "float32", 4096)
    with (
        builder.loop("i", builder.lo, builder.hi) as i,
        builder.loop("j", i * first, i * first + second) as j,
    ):
        builder.store(x, j, load(x, j) + 1.0)
    return builder.finish("strided").symbol


def test_symbol_differs_with_constants():
    pairs = [(a, b) for a in range(1, 20) for b in range(1, 20)]
    assert len({strided(*pair) for pair in pairs}) == len(pairs)


def test_symbol_is_stable():
    assert strided(2, 3) == strided(2, 3)
