"""Copies between the processor and a GPU: where they stand, and that there are no others."""

from edgecomp.lower.place_copies import place_copies
from edgecomp.lower.select import Selected
from edgecomp.plan.elementwise import Elementwise, Step
from edgecomp.plan.movement import Fill, Reinterpret
from edgecomp.plan.operations import Operation, Program
from edgecomp.plan.plan import Launch, LaunchKind
from edgecomp.plan.values import Value
from edgecomp.schedules.builder import Kernel
from edgecomp.schedules.schedule import KernelCall

KERNEL = Launch(LaunchKind.KERNEL, (8, 1, 1), (8, 1, 1))


def value(name, **more):
    return Value(name, (8,), "float32", **more)


def choice(kind, inputs, outputs, gpu):
    operation = Operation(kind, inputs, outputs)
    call = KernelCall(
        Kernel("k", None), (*inputs, *outputs), 1, launch=KERNEL if gpu else None
    )
    return Selected(operation, "test", [call], ())


def step(inputs, output, *, gpu):
    kind = Elementwise((Step("Add", (0, 0), "float32"),))
    return choice(kind, inputs, [output], gpu)


def placed(choices, inputs, outputs):
    """Texts of all calls in order: ``>a`` copies to the GPU, ``<a`` back, others name the output."""
    program = Program("test", [c.operation for c in choices], inputs, outputs)
    signs = {LaunchKind.TO_DEVICE: ">", LaunchKind.FROM_DEVICE: "<"}
    texts = []
    for made in place_copies(program, choices):
        for call in made.calls:
            sign = signs.get(call.launch.kind, "") if call.launch else ""
            texts.append(sign + (call.arguments[0] if sign else call.arguments[-1]).name)
    return " ".join(texts)


def test_each_value_is_copied_once():
    a, b, c, d, e = map(value, "abcde")
    choices = [
        step([a], b, gpu=True),
        step([a, b], c, gpu=True),
        step([b, a], d, gpu=False),
        step([b, d], e, gpu=True),
    ]
    assert placed(choices, [a], [e]) == ">a b <b c d >d e <e"


def test_the_processor_waits_where_it_goes_on_and_nowhere_else():
    a, b, c, d = map(value, "abcd")
    choices = [step([a], b, gpu=True), step([a], c, gpu=False), step([b, c], d, gpu=False)]
    assert placed(choices, [a], [d]) == ">a b <b c d"


def test_constants_and_what_is_on_the_processor_already_stay():
    a, b, c = map(value, "abc")
    w = value("w", constant=[1])
    choices = [step([a, w], b, gpu=False), step([a, w], c, gpu=True)]
    assert placed(choices, [a], [b, c]) == "b >a c <c"


def test_parts_of_one_value_meet():
    a, b, c = map(value, "abc")
    choices = [
        choice(Fill(0), [], [b], gpu=False),
        step([a], b, gpu=True),
        step([b], c, gpu=False),
    ]
    assert placed(choices, [a], [c]) == "b >a >b b <b c"


def test_views_are_their_memory():
    a, b, c, d = map(value, "abcd")
    c.alias_of = b
    choices = [step([a], b, gpu=True), step([c], d, gpu=False)]
    operations = [choices[0].operation, Operation(Reinterpret(), [b], [c])]
    assert operations[1].output.alias_of is b
    assert placed(choices, [a], [d]) == ">a b <b d"


def test_an_output_that_is_read_on_comes_back_once():
    a, b, c = map(value, "abc")
    choices = [step([a], b, gpu=True), step([b], c, gpu=False)]
    assert placed(choices, [a], [b, c]) == ">a b <b c"
