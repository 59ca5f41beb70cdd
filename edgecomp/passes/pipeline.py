"""The order of passes, and the wrapper that runs, dumps and checks them.

Forms that the float list guarantees to what comes after it:

* every shape is known, no Constant, Identity, Dropout, BatchNormalization (in inference mode) or
  CastLike is left, and shape arithmetic is folded;
* products with a constant matrix are ``Gemm(x, W [K, N], b [N])`` without factors or transposes
  where x is 2-D, and ``MatMul(x, W [K, N])`` followed by ``Add(.., b [N])`` where it has more
  dimensions; Gemm of computed matrices is MatMul, and one-hot rows by a constant matrix are Gather;
* Conv, MaxPool and AveragePool have explicit pads, zero Pads are inside them;
* activations and normalisations that exporters write in parts are one operator where the opset
  has it: Gelu, HardSwish, HardSigmoid, Mish, Softplus, Sigmoid, Softmax, LayerNormalization.
  x * Sigmoid(x) stays two operators.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import onnx_ir as ir

from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.bodies import closed, name_inner_values, possible_bodies
from edgecomp.graph.compare import MODEL_TOLERANCE, relative_difference
from edgecomp.graph.constants import AnyArray
from edgecomp.graph.run import run_model
from edgecomp.graph.verify import verify
from edgecomp.passes.canonicalize_products import CanonicalizeProductsPass
from edgecomp.passes.center_variances import CenterVariancesPass
from edgecomp.passes.decompose_conv_transpose import DecomposeConvTransposePass
from edgecomp.passes.fold_batch_norm import FoldBatchNormPass
from edgecomp.passes.fold_channel_affine import FoldChannelAffinePass
from edgecomp.passes.fold_constants import FoldConstantsPass
from edgecomp.passes.fold_low_rank import FoldLowRankPass
from edgecomp.passes.fold_moves import FoldMovesPass
from edgecomp.passes.fuse_activations import FuseActivationsPass
from edgecomp.passes.fuse_gelu import FuseGeluPass
from edgecomp.passes.fuse_layer_norm import FuseLayerNormPass
from edgecomp.passes.fuse_softmax import FuseSoftmaxPass
from edgecomp.passes.merge_pads import MergePadsPass
from edgecomp.passes.move_scales import MoveScalesPass
from edgecomp.passes.outcome import Numerics, Refusal
from edgecomp.passes.remove_identities import RemoveIdentitiesPass
from edgecomp.passes.replace_one_hot_products import ReplaceOneHotProductsPass
from edgecomp.passes.resolve_auto_pad import ResolveAutoPadPass
from edgecomp.passes.strip_pruned_channels import StripPrunedChannelsPass
from edgecomp.writable import writable


def float_passes(
    *,
    low_rank: FoldLowRankPass | None = None,
    strip: bool = True,
    channel_multiple: int = 8,
) -> list[ir.passes.InPlacePass]:
    """The passes of a float model, in order.

    Args:
        low_rank: the pass with the target's cost, or None for its default.
        strip: whether channels that are all zero are removed.
        channel_multiple: stripped values keep a multiple of this many channels: the vector
            length, below which a channel saves no time.
    """
    passes: list[ir.passes.InPlacePass] = [
        FoldConstantsPass(),
        RemoveIdentitiesPass(),
        FoldMovesPass(),
        ResolveAutoPadPass(),
        # Before the folds into weights: they know the canonical Gemm only.
        CanonicalizeProductsPass(),
        # Before FuseLayerNorm, which knows variances of differences only.
        CenterVariancesPass(),
        # Before FoldChannelAffine, which would take the scales and shifts of these patterns.
        FuseLayerNormPass(),
        FuseSoftmaxPass(),
        FuseGeluPass(),
        FuseActivationsPass(),
        MergePadsPass(),
        # What it moves to weights is folded there by the next one.
        MoveScalesPass(),
        # A bias between convolution and normalisation has to be folded first ...
        FoldChannelAffinePass(),
        FoldBatchNormPass(),
        # ... and a normalisation that became Mul and Add, or had one behind it, can fold now.
        FoldChannelAffinePass(),
        # After what folds into products: it takes their whole rows.
        ReplaceOneHotProductsPass(),
        # After the folds into weights: normalisations do not fold through the interleaving.
        DecomposeConvTransposePass(),
        # After normalisations are gone: nothing may stand between the factors.
        low_rank or FoldLowRankPass(),
    ]
    if strip:
        # After folding low-rank pairs: a merged layer has channels of its own.
        passes.append(StripPrunedChannelsPass(channel_multiple))
    # Stripping leaves biases behind MatMul and Concats of one side; what is removed lets moves
    # meet, and moves that undo each other are removed last.
    passes += [
        CanonicalizeProductsPass(),
        FoldConstantsPass(),
        RemoveIdentitiesPass(),
        FoldMovesPass(),
        RemoveIdentitiesPass(),
    ]
    return passes


def quantized_passes() -> list[ir.passes.InPlacePass]:
    """The passes of a model that comes quantized: none moves a number across its edges.

    They name what exporters write in parts between the edges, and remove what does nothing.
    """
    return [
        FoldConstantsPass(),
        RemoveIdentitiesPass(),
        FuseLayerNormPass(),
        FuseSoftmaxPass(),
        FuseGeluPass(),
        FuseActivationsPass(),
    ]


@dataclasses.dataclass(frozen=True)
class PassReport:
    """What one pass did.

    Attributes:
        name: class name of the pass.
        modified: whether the model changed.
        applied: places rewritten.
        refusals: places left alone, with reasons.
        notes: lines for the report.
        nodes: nodes of the main graph afterwards.
        difference: largest difference the pass made to an output, relative to its range; None
            where it was not measured.
    """

    name: str
    modified: bool
    applied: int
    refusals: tuple[Refusal, ...]
    notes: tuple[str, ...]
    nodes: int
    difference: float | None = None


def run_passes(
    model: ir.Model,
    passes: Sequence[ir.passes.InPlacePass],
    *,
    dump_dir: pathlib.Path | None = None,
    verify_feeds: Mapping[str, AnyArray] | None = None,
) -> list[PassReport]:
    """Run passes in order, with the structural check after each that changed something.

    Args:
        model: changed in place.
        passes: each may have a class attribute ``numerics`` (exact where it has none). They see
            one graph: branches and loop bodies are given to them as models of their own.
        dump_dir: folder that gets ``NN_name.onnx`` after each pass, and ``00_input.onnx``.
        verify_feeds: inputs to run the model on around each pass.

    Raises:
        EdgecompError: PASS_MISMATCH naming the pass whose numbers differ by more than its
            numerics allow, or INTERNAL naming the pass that left a broken model.
    """
    reports: list[PassReport] = []
    _dump(model, dump_dir, 0, "input")
    before = None if verify_feeds is None else run_model(model, verify_feeds)
    inner = _run_on_bodies(model, passes)
    if inner and verify_feeds is not None and before is not None:
        after = run_model(model, verify_feeds)
        _compare("passes on branches and loops", Numerics.REASSOCIATED, before, after)
        before = after
    for number, each in enumerate(passes, start=1):
        name = type(each).__name__
        result = each(model)
        # What says that it changed nothing is only believed until the end.
        if result.modified or number == len(passes):
            _verify_after(model, name)
        _dump(model, dump_dir, number, _snake(name))
        difference = None
        if verify_feeds is not None and before is not None and result.modified:
            after = run_model(model, verify_feeds)
            numerics = getattr(each, "numerics", Numerics.EXACT)
            difference = _compare(name, numerics, before, after)
            before = after
        reports.append(
            PassReport(
                name=name,
                modified=result.modified or any(r[number - 1].modified for r in inner),
                applied=getattr(result, "applied", int(result.modified))
                + sum(r[number - 1].applied for r in inner),
                refusals=tuple(getattr(result, "refusals", ()))
                + tuple(refusal for r in inner for refusal in r[number - 1].refusals),
                notes=tuple(getattr(result, "notes", ()))
                + tuple(note for r in inner for note in r[number - 1].notes),
                nodes=len(model.graph),
                difference=difference,
            )
        )
    return reports


def _run_on_bodies(
    model: ir.Model, passes: Sequence[ir.passes.InPlacePass]
) -> list[list[PassReport]]:
    """Run all passes on each branch and loop body as a model of its own, innermost first."""
    reports: list[list[PassReport]] = []
    for node in model.graph:
        for body in possible_bodies(node):
            with closed(body, model.opset_imports) as own:
                reports.append(run_passes(own, passes))
    if reports:
        name_inner_values(model.graph)
    return reports


def _verify_after(model: ir.Model, name: str) -> None:
    try:
        verify(model)
    except EdgecompError as error:
        raise EdgecompError(
            Code.INTERNAL,
            f"{name} left a broken model: {error.cause}",
            node=error.node,
            source=error.source,
            hint="please report it with the model; --dump-passes shows the state before",
        ) from error


def _compare(
    name: str,
    numerics: Numerics,
    before: Mapping[str, AnyArray],
    after: Mapping[str, AnyArray],
) -> float:
    worst = 0.0
    for output, expected in before.items():
        difference = relative_difference(after[output], expected)
        allowed = {
            Numerics.EXACT: 0.0,
            Numerics.REASSOCIATED: MODEL_TOLERANCE,
            # What quantization may cost is the accuracy gate's question.
            Numerics.QUANTIZED: float("inf"),
        }[numerics]
        if difference > allowed:
            raise EdgecompError(
                Code.PASS_MISMATCH,
                f"{name} ({numerics.value}) changed output '{output}' by {difference:.3g} of its "
                f"range, allowed is {allowed:g}",
                node=output,
                hint="--dump-passes writes the model before and after it",
            )
        worst = max(worst, difference)
    return worst


def _dump(model: ir.Model, folder: pathlib.Path | None, number: int, name: str) -> None:
    if folder is None:
        return
    with writable(folder):
        folder.mkdir(parents=True, exist_ok=True)
        ir.save(model, folder / f"{number:02d}_{name}.onnx")


def _snake(name: str) -> str:
    words = "".join(f"_{each.lower()}" if each.isupper() else each for each in name)
    return words.strip("_").removesuffix("_pass")
