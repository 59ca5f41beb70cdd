"""Registers of the loops."""

import pytest

from edgecomp.schedules.cpu.lane_plan import GROUP, VECTOR_REGISTERS, plan_for


@pytest.mark.parametrize("in_order", [False, True])
def test_registers_suffice_and_rings_come_round(in_order):
    for rows in range(1, 17):
        for vectors in range(1, 9):
            plan = plan_for(rows, vectors, in_order=in_order)
            least = rows * vectors + rows + 1
            assert (plan is not None) == (least <= VECTOR_REGISTERS)
            if plan:
                assert least - 1 + plan.ring.size <= VECTOR_REGISTERS
                assert plan.period % GROUP == 0
                assert plan.period * vectors % plan.ring.size == 0


def test_cores_that_issue_in_order_load_ahead():
    """One turn of a ring of one chunk would wait for its own load."""
    plan = plan_for(6, 3, in_order=True)
    assert plan.ring.chunks > 1
    assert plan.skew
    assert plan_for(4, 6, in_order=False).ring.size == 4
