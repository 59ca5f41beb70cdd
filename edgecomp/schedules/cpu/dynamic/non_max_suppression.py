"""Non-maximum suppression: every class of every image by itself, then one list of all.

A class keeps the list of its candidates. Each round takes the best one, and one pass over the
list drops what overlaps it and finds the next best. Ties go to the box that comes first.
"""

import dataclasses

from edgecomp.device.target import Target
from edgecomp.plan.counting import NonMaxSuppression
from edgecomp.plan.operations import Operation
from edgecomp.plan.sizes import Dimension, largest
from edgecomp.plan.values import Order, Value
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, KernelBuilder, constant, load
from edgecomp.schedules.cpu.dynamic.nest import dynamic_call
from edgecomp.schedules.schedule import KernelCall

NAME = "non_max_suppression"
_BOX = 4
_TRIPLE = 3


def match(operation: Operation, target: Target) -> str:
    """float32 boxes and scores in memory as ONNX has them."""
    del target
    if not isinstance(operation.kind, NonMaxSuppression):
        return "not a non-maximum suppression"
    boxes, scores = operation.inputs[:2]
    if boxes.dtype != "float32" or scores.dtype != "float32":
        return f"boxes of {boxes.dtype} and scores of {scores.dtype}"
    if any(value.order is not Order.ROW_MAJOR for value in (boxes, scores)):
        return "boxes in the order of an image"
    return ""


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """Two kernels; a work item of the first is a class of an image."""
    kind = operation.kind
    assert isinstance(kind, NonMaxSuppression)
    output = operation.outputs[0]
    batch, classes, _ = operation.inputs[1].shape
    lists = largest(batch * classes)
    chosen = Value(f"{output.name}.boxes", (max(1, lists * kind.class_boxes),), "int32")
    counts = Value(f"{output.name}.counts", (max(1, lists),), "int32")
    return [
        _choose(operation, kind, chosen, counts, target),
        _join(operation, kind, chosen, counts, target),
    ]


def _choose(
    operation: Operation,
    kind: NonMaxSuppression,
    chosen: Value,
    counts: Value,
    target: Target,
) -> KernelCall:
    batch, classes, extent = operation.inputs[1].shape
    builder = KernelBuilder(target.core.isa)
    buffers = [
        builder.pointer(name, value.dtype, largest(value.elements))
        for name, value in zip(
            ("boxes", "scores", "limit", "overlap", "threshold"),
            operation.inputs,
            strict=False,
        )
    ]
    results = builder.pointer("chosen", "int32", chosen.elements)
    totals = builder.pointer("counts", "int32", counts.elements)
    most = largest(extent)
    scratch = builder.pointer("candidates", "int32", most)
    size = builder.size(extent)
    threshold = load(buffers[4], 0) if kind.has_threshold else None
    limit = tirx.Max(
        tirx.Min(load(buffers[2], 0), tirx.const(most, "int64")), tirx.const(0, "int64")
    )
    rounds = builder.let("rounds", tirx.Cast("int32", limit))
    with builder.loop("item", builder.lo, builder.hi) as item:
        first_score = builder.let("first_score", item * size)
        image = builder.let("image", tirx.truncdiv(item, builder.size(classes)))
        first_box = builder.let("first_box", image * (size * _BOX))
        candidates = _Candidates(builder, scratch, buffers[1], first_score)
        candidates.clear()
        with builder.loop("box", 0, size) as box:
            passes = None
            if threshold is not None:
                passes = load(buffers[1], first_score + box) > threshold
            with builder.condition(passes):
                candidates.append(box)
        found = builder.array("found", "int32", 1)
        builder.store(found, 0, tirx.const(0, "int32"))
        with builder.loop("round", 0, rounds), builder.condition(candidates.left > 0):
            best = builder.let("best", candidates.best)
            number = builder.let("number", load(found, 0))
            with builder.condition(number < kind.class_boxes):
                builder.store(results, item * kind.class_boxes + number, best)
            builder.store(found, 0, number + 1)
            corners = _corners(builder, kind, buffers[0], first_box + best * _BOX)
            left = builder.let("left", candidates.left)
            candidates.clear()
            with builder.loop("place", 0, left) as place:
                other = builder.let("other", load(scratch, place))
                rival = _corners(builder, kind, buffers[0], first_box + other * _BOX)
                overlaps = _overlaps(builder, corners, rival, load(buffers[3], 0))
                keeps = tirx.And(tirx.NE(other, best), tirx.Not(overlaps))
                with builder.condition(keeps):
                    candidates.append(other)
        builder.store(totals, item, load(found, 0))
    items: Dimension = batch * classes
    arguments = (*operation.inputs, chosen, counts)
    # Two passes over the boxes at least, and one more for each box that is chosen.
    return dynamic_call(builder, NAME, arguments, (items, 1), 4 * max(1, most))


@dataclasses.dataclass(frozen=True)
class _Candidates:
    """Boxes that are left of a class, in their order, and the best of them."""

    builder: KernelBuilder
    list: Buffer
    scores: Buffer
    first_score: Expr
    _state: dict[str, Buffer] = dataclasses.field(default_factory=dict)

    def clear(self) -> None:
        if not self._state:
            self._state["number"] = self.builder.array("number", "int32", 1)
            self._state["best"] = self.builder.array("best", "int32", 1)
            self._state["score"] = self.builder.array("score", "float32", 1)
        self.builder.store(self._state["number"], 0, tirx.const(0, "int32"))

    @property
    def left(self) -> Expr:
        return load(self._state["number"], 0)

    @property
    def best(self) -> Expr:
        return load(self._state["best"], 0)

    def append(self, box: Expr) -> None:
        builder = self.builder
        number = builder.let("number", self.left)
        score = builder.let("score", load(self.scores, self.first_score + box), "float32")
        builder.store(self.list, number, box)
        better = tirx.Or(tirx.EQ(number, 0), score > load(self._state["score"], 0))
        with builder.condition(better):
            builder.store(self._state["best"], 0, box)
            builder.store(self._state["score"], 0, score)
        builder.store(self._state["number"], 0, number + 1)


@dataclasses.dataclass(frozen=True)
class _Corners:
    """The two corners of a box."""

    x: tuple[Expr, Expr]
    y: tuple[Expr, Expr]

    @property
    def area(self) -> Expr:
        return (self.x[1] - self.x[0]) * (self.y[1] - self.y[0])


def _corners(
    builder: KernelBuilder, kind: NonMaxSuppression, boxes: Buffer, at: Expr
) -> _Corners:
    at = builder.let("at", at)
    a, b, c, d = (builder.let("edge", load(boxes, at + k), "float32") for k in range(_BOX))

    def between(one: Expr, other: Expr) -> tuple[Expr, Expr]:
        return tirx.Min(one, other), tirx.Max(one, other)

    def around(middle: Expr, extent: Expr) -> tuple[Expr, Expr]:
        half = extent / constant(2.0, "float32")
        return middle - half, middle + half

    x, y = (around(a, c), around(b, d)) if kind.is_centered else (between(b, d), between(a, c))

    def named(pair: tuple[Expr, Expr]) -> tuple[Expr, Expr]:
        low, high = (builder.let("corner", edge, "float32") for edge in pair)
        return low, high

    return _Corners(named(x), named(y))


def _overlaps(builder: KernelBuilder, a: _Corners, b: _Corners, most: Expr) -> Expr:
    """Whether two boxes have more in common than is allowed; boxes without area never do."""
    zero = constant(0.0, "float32")
    width = tirx.Min(a.x[1], b.x[1]) - tirx.Max(a.x[0], b.x[0])
    height = tirx.Min(a.y[1], b.y[1]) - tirx.Max(a.y[0], b.y[0])
    common = builder.let("common", tirx.Max(width, zero) * tirx.Max(height, zero), "float32")
    joined = builder.let("joined", a.area + b.area - common, "float32")
    has_area = tirx.And(a.area > zero, b.area > zero)
    sound = tirx.And(tirx.And(common > zero, joined > zero), has_area)
    share = builder.let("share", common / joined, "float32")
    return tirx.And(sound, share > most)


def _join(
    operation: Operation,
    kind: NonMaxSuppression,
    chosen: Value,
    counts: Value,
    target: Target,
) -> KernelCall:
    output, count = operation.outputs
    batch, classes, _ = operation.inputs[1].shape
    most = largest(output.shape[0])
    builder = KernelBuilder(target.core.isa)
    results = builder.pointer("chosen", "int32", chosen.elements)
    totals = builder.pointer("counts", "int32", counts.elements)
    triples = builder.pointer("triples", "int64", most * _TRIPLE)
    counted = builder.pointer("count", "int64", 1)
    total = builder.array("total", "int32", 1)
    with builder.loop("once", builder.lo, builder.hi):
        builder.store(total, 0, tirx.const(0, "int32"))
        with (
            builder.loop("image", 0, builder.size(batch)) as image,
            builder.loop("kind", 0, builder.size(classes)) as class_number,
        ):
            item = builder.let("item", image * builder.size(classes) + class_number)
            found = builder.let("found", load(totals, item))
            with builder.loop("k", 0, tirx.Min(found, kind.class_boxes)) as k:
                at = builder.let("at", load(total, 0) + k)
                with builder.condition(at < most):
                    box = load(results, item * kind.class_boxes + k)
                    for place, number in enumerate((image, class_number, box)):
                        wide = tirx.Cast("int64", number)
                        builder.store(triples, at * _TRIPLE + place, wide)
            builder.store(total, 0, load(total, 0) + found)
        builder.store(counted, 0, tirx.Cast("int64", load(total, 0)))
    return dynamic_call(builder, "join_boxes", (chosen, counts, output, count), (1, 1))
