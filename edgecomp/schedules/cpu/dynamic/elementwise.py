"""Chains of elementwise operators over values of dynamic shapes."""

from edgecomp.device.target import Target
from edgecomp.plan.elementwise import Elementwise
from edgecomp.plan.operations import Operation
from edgecomp.schedules.cpu import elementwise
from edgecomp.schedules.cpu.dynamic.largest import Twin
from edgecomp.schedules.cpu.dynamic.nest import dynamic_call, emit_nest
from edgecomp.schedules.schedule import KernelCall

NAME = elementwise.NAME


def match(operation: Operation, target: Target) -> str:
    """Any chain that the static schedule takes."""
    if not isinstance(operation.kind, Elementwise):
        return "not an elementwise chain"
    return elementwise.match(Twin(operation).operation, target)


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel."""
    chain = elementwise.Chain(operation, target)
    items = emit_nest(chain.builder, chain.space, chain.lanes, chain.body)
    return [dynamic_call(chain.builder, NAME, chain.arguments, items)]
