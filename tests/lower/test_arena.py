import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecomp.lower.arena import Block, lower_bound, plan_arena

blocks = st.lists(
    st.tuples(st.integers(0, 5000), st.integers(0, 20), st.integers(0, 6)).map(
        lambda t: Block(t[0], t[1], t[1] + t[2])
    ),
    min_size=1,
    max_size=30,
)


@given(blocks)
def test_blocks_alive_at_one_time_do_not_overlap(wanted):
    offsets, peak = plan_arena(wanted)
    for i, a in enumerate(wanted):
        assert offsets[i] % 64 == 0
        assert offsets[i] + a.bytes <= peak
        for j, b in enumerate(wanted[:i]):
            if a.meets(b) and a.bytes and b.bytes:
                assert offsets[i] + a.bytes <= offsets[j] or offsets[j] + b.bytes <= offsets[i]


@given(blocks)
def test_peak_is_at_least_the_bound(wanted):
    _, peak = plan_arena(wanted)
    assert peak >= lower_bound(wanted)


def test_a_chain_reaches_the_bound():
    sizes = [100, 900, 400, 1000, 64, 3000, 700]
    chain = [Block(size, i, i + 1) for i, size in enumerate(sizes)]
    offsets, peak = plan_arena(chain)
    assert peak == lower_bound(chain)
    assert min(offsets) == 0


@pytest.mark.parametrize("wanted", [[Block(1, 0, 0)], [Block(0, 0, 3)]])
def test_one_block(wanted):
    assert plan_arena(wanted) == ([0], lower_bound(wanted))
