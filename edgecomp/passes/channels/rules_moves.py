"""Channels through operators that only move elements: joins, cuts, shapes, orders."""

import math

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import AnyArray, constant_array
from edgecomp.graph.edit import set_constant_input
from edgecomp.graph.shapes import static_shape
from edgecomp.passes.channels.state import Channels, Kept, State


def visit_concat(node: ir.Node, state: State) -> bool:
    """Along the channels: one after the other. Along another axis: the same channels."""
    shape = static_shape(node.outputs[0])
    known = [found for value in node.inputs if (found := state.of(value)) is not None]
    if not known:
        return True
    if shape is None or any(found.axis != known[0].axis for found in known):
        return False
    axis = node.attributes["axis"].as_int() % len(shape)
    if axis == known[0].axis:
        parts = [_part(value, state, node, axis) for value in node.inputs]
        ids = np.concatenate([part[0] for part in parts])
        constant = np.concatenate([part[1] for part in parts])
        state.set(node.outputs[0], axis, ids, constant)
        _slice_inputs(node, state, axis)
        return True
    if len(known) != len(node.inputs):
        return False
    same = known[0].constant
    for found in known[1:]:
        state.join(known[0].ids, found.ids)
        same = np.where(same == found.constant, same, np.nan)
    state.set(node.outputs[0], known[0].axis, known[0].ids, same)
    return True


def _part(
    value: ir.Value | None, state: State, node: ir.Node, axis: int
) -> tuple[AnyArray, AnyArray]:
    found = state.of(value)
    if found is not None:
        return found.ids, found.constant
    shape = static_shape(value)
    assert shape is not None
    array = constant_array(value)
    ids = state.new_ids(shape[axis])
    if array is None:
        state.pin(ids, node, "the channels of this side are not known")
        return ids, np.full(shape[axis], np.nan)
    rows = np.moveaxis(array, axis, 0).reshape(shape[axis], -1).astype(np.float64)
    same = (rows == rows[:, :1]).all(axis=1)
    assert value is not None
    state.constant_parts[(node, value)] = ids
    return ids, np.where(same, rows[:, 0], np.nan)


def _slice_inputs(node: ir.Node, state: State, axis: int) -> None:
    def apply(kept: Kept) -> None:
        for index, value in enumerate(node.inputs):
            array = constant_array(value)
            if array is None or value is None:
                continue
            mask = kept.mask(state.constant_parts[(node, value)])
            if not mask.all():
                set_constant_input(node, index, np.compress(mask, array, axis=axis))

    state.applies.append(apply)


def visit_split(node: ir.Node, state: State) -> bool:
    """Along the channels: each output has its part, whose new size is written out."""
    found = state.of(node.inputs[0])
    if found is None:
        return True
    shape = static_shape(node.inputs[0])
    assert shape is not None
    axis = node.attributes.get_int("axis", 0) % len(shape)
    if axis != found.axis:
        for value in node.outputs:
            state.set(value, found.axis, found.ids, found.constant)
        return True
    start, parts = 0, []
    for value in node.outputs:
        extent = (static_shape(value) or ())[axis]
        ids = found.ids[start : start + extent]
        state.set(value, axis, ids, found.constant[start : start + extent])
        state.nonempty.append(ids)
        parts.append(ids)
        start += extent

    def apply(kept: Kept) -> None:
        if kept.of(node.inputs[0]) is None:
            return
        sizes = np.array([int(kept.mask(ids).sum()) for ids in parts], np.int64)
        node.attributes.pop("num_outputs", None)
        set_constant_input(node, 1, sizes, name=f"{node.name}_sizes")

    state.applies.append(apply)
    return True


def visit_slice(node: ir.Node, state: State) -> bool:
    """A range of channels with step 1; other axes do not matter."""
    found = state.of(node.inputs[0])
    if found is None:
        return True
    shape = static_shape(node.inputs[0])
    given = [constant_array(value) for value in node.inputs[1:]]
    if shape is None or any(each is None for each in given) or len(given) < 2:
        return False
    starts, ends = given[0].reshape(-1), given[1].reshape(-1)  # type: ignore[union-attr]
    axes = given[2].reshape(-1) if len(given) > 2 else np.arange(len(starts))  # type: ignore[union-attr]
    steps = given[3].reshape(-1) if len(given) > 3 else np.ones(len(starts), np.int64)  # type: ignore[union-attr]
    places = [at for at, axis in enumerate(axes) if int(axis) % len(shape) == found.axis]
    if not places:
        state.set(node.outputs[0], found.axis, found.ids, found.constant)
        return True
    at = places[0]
    if int(steps[at]) != 1:
        return False
    begin, end, _ = slice(int(starts[at]), int(ends[at]), 1).indices(shape[found.axis])
    ids = found.ids[begin:end]
    if not len(ids):
        return False
    state.set(node.outputs[0], found.axis, ids, found.constant[begin:end])
    state.nonempty.append(ids)

    def apply(kept: Kept) -> None:
        mask = kept.of(node.inputs[0])
        if mask is None:
            return
        new_starts, new_ends = starts.copy(), ends.copy()
        new_starts[at] = int(mask[:begin].sum())
        new_ends[at] = int(mask[:end].sum())
        set_constant_input(node, 1, new_starts)
        set_constant_input(node, 2, new_ends)

    state.applies.append(apply)
    return True


def visit_gather(node: ir.Node, state: State) -> bool:
    """A constant selection or order of channels; indices are counted anew."""
    found = state.of(node.inputs[0])
    if found is None:
        return state.of(node.inputs[1]) is None
    shape = static_shape(node.inputs[0])
    indices = constant_array(node.inputs[1])
    if shape is None or indices is None or indices.ndim != 1:
        return False
    axis = node.attributes.get_int("axis", 0) % len(shape)
    if axis != found.axis:
        state.set(node.outputs[0], found.axis, found.ids, found.constant)
        return True
    positions = indices % shape[axis]
    ids = found.ids[positions]
    state.set(node.outputs[0], axis, ids, found.constant[positions])
    state.nonempty.append(ids)

    def apply(kept: Kept) -> None:
        mask = kept.of(node.inputs[0])
        if mask is None:
            return
        renumbered = np.cumsum(mask) - 1
        wanted = renumbered[positions[mask[positions]]]
        set_constant_input(node, 1, wanted.astype(indices.dtype))

    state.applies.append(apply)
    return True


def visit_transpose(node: ir.Node, state: State) -> bool:
    """The channel axis moves."""
    found = state.of(node.inputs[0])
    if found is None:
        return True
    shape = static_shape(node.inputs[0])
    assert shape is not None
    order = list(node.attributes.get_ints("perm", list(reversed(range(len(shape))))))
    state.set(node.outputs[0], order.index(found.axis), found.ids, found.constant)
    return True


def visit_reshape(node: ir.Node, state: State) -> bool:
    """Reshape, Flatten, Squeeze, Unsqueeze: channels stay a dimension or merge into one.

    Splitting the channels over several dimensions is refused.
    """
    found = state.of(node.inputs[0])
    if found is None:
        return True
    before, after = static_shape(node.inputs[0]), static_shape(node.outputs[0])
    if before is None or after is None:
        return False
    placed = _place(before, found, after)
    if placed is None:
        return False
    axis, ids, constant = placed
    state.set(node.outputs[0], axis, ids, constant)
    if node.op_type == "Reshape":
        _write_shape(node, state, 1, axis, ids)
    return True


def _place(
    before: tuple[int, ...], found: Channels, after: tuple[int, ...]
) -> tuple[int, AnyArray, AnyArray] | None:
    """Where the channels lie after a reshape: axis, ids, constants."""
    extent = before[found.axis]
    outer, inner = math.prod(before[: found.axis]), math.prod(before[found.axis + 1 :])
    for axis, size in enumerate(after):
        lead, tail = math.prod(after[:axis]), math.prod(after[axis + 1 :])
        if size == extent and lead == outer and tail == inner:
            return axis, found.ids, found.constant
    for axis, size in enumerate(after):
        lead, tail = math.prod(after[:axis]), math.prod(after[axis + 1 :])
        if size % extent or lead == 0 or tail == 0:
            continue
        repeats, tiles = inner // tail if inner % tail == 0 else 0, 0
        tiles = outer // lead if outer % lead == 0 else 0
        if repeats * tiles * extent != size or not repeats or not tiles:
            continue
        return (
            axis,
            np.tile(np.repeat(found.ids, repeats), tiles),
            np.tile(np.repeat(found.constant, repeats), tiles),
        )
    return None


def _write_shape(node: ir.Node, state: State, index: int, axis: int, ids: AnyArray) -> None:
    """Replace the constant shape input ``index`` by the numbers after stripping."""
    shape = static_shape(node.outputs[0])
    assert shape is not None

    def apply(kept: Kept) -> None:
        mask = kept.mask(ids)
        if mask.all():
            return
        wanted = list(shape)
        wanted[axis] = int(mask.sum())
        set_constant_input(node, index, np.array(wanted, np.int64))

    state.applies.append(apply)


def visit_expand(node: ir.Node, state: State) -> bool:
    """Expand other dimensions than the channels."""
    found = state.of(node.inputs[0])
    if found is None:
        return True
    before, after = static_shape(node.inputs[0]), static_shape(node.outputs[0])
    if before is None or after is None or constant_array(node.inputs[1]) is None:
        return False
    axis = found.axis + len(after) - len(before)
    if after[axis] != before[found.axis]:
        return False
    state.set(node.outputs[0], axis, found.ids, found.constant)
    _write_shape(node, state, 1, axis, found.ids)
    return True


def visit_pad(node: ir.Node, state: State) -> bool:
    """Pads of other dimensions; a constant channel stays one only if padded with itself."""
    found = state.of(node.inputs[0])
    if found is None:
        return True
    before, after = static_shape(node.inputs[0]), static_shape(node.outputs[0])
    if before is None or after is None or before[found.axis] != after[found.axis]:
        return False
    pads = constant_array(node.inputs[1])
    axes = node.inputs[3] if len(node.inputs) > 3 else None
    if pads is None or (axes is not None and constant_array(axes) is None):
        return False
    if before[found.axis] == after[found.axis] and _pads_channels(
        pads, axes, found.axis, before
    ):
        return False
    constant = found.constant
    if node.attributes.get_string("mode", "constant") == "constant":
        given = node.inputs[2] if len(node.inputs) > 2 else None
        array = np.zeros(1) if given is None else constant_array(given)
        if array is None:
            return False
        constant = np.where(constant == float(array.reshape(-1)[0]), constant, np.nan)
    state.set(node.outputs[0], found.axis, found.ids, constant)
    return True


def _pads_channels(
    pads: AnyArray, axes: ir.Value | None, axis: int, shape: tuple[int, ...]
) -> bool:
    """Whether the channel axis itself gets or loses elements (+1 -1 keeps the extent)."""
    rank = len(shape)
    listed = np.arange(rank) if axes is None else constant_array(axes)
    assert listed is not None
    for at, each in enumerate(listed.reshape(-1).tolist()):
        if int(each) % rank == axis:
            return bool(pads[at] != 0 or pads[at + len(pads) // 2] != 0)
    return False


def visit_resize(node: ir.Node, state: State) -> bool:
    """Resize of image dimensions; nearest and linear keep a constant as it is."""
    found = state.of(node.inputs[0])
    if found is None:
        return True
    before, after = static_shape(node.inputs[0]), static_shape(node.outputs[0])
    if before is None or after is None or before[found.axis] != after[found.axis]:
        return False
    if any(constant_array(value) is None for value in node.inputs[1:] if value is not None):
        return False
    mode = node.attributes.get_string("mode", "nearest")
    crop = node.attributes.get_string("coordinate_transformation_mode", "half_pixel")
    constant = found.constant
    if mode not in ("nearest", "linear") or crop == "tf_crop_and_resize":
        constant = np.full(len(constant), np.nan)
    state.set(node.outputs[0], found.axis, found.ids, constant)
    has_sizes = len(node.inputs) > 3 and node.inputs[3] is not None
    if has_sizes:
        sizes = constant_array(node.inputs[3])
        assert sizes is not None
        if len(sizes) == len(after):
            _write_shape(node, state, 3, found.axis, found.ids)
    return True
