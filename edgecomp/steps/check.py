"""A model read as a build would read it, and what runs how of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir as ir

from edgecomp.device.target import Target
from edgecomp.frontend.bound_spec import parse_bound_specs
from edgecomp.frontend.constant_spec import parse_constant_specs
from edgecomp.frontend.input_spec import parse_input_specs
from edgecomp.frontend.load import load_model
from edgecomp.graph.narrow_weights import has_narrow_weights
from edgecomp.graph.qdq import is_quantized
from edgecomp.graph.verify import is_whole
from edgecomp.lower.check import check_model
from edgecomp.lower.check_report import CheckReport
from edgecomp.passes.pipeline import float_passes, quantized_passes, run_passes
from edgecomp.steps.dynamic import symbols_of, variants_of


def check(
    source: Any,
    targets: Sequence[Target],
    inputs: Sequence[str],
    constants: Sequence[str],
    bounds: Sequence[str],
) -> CheckReport:
    """See ``api.check``."""

    def read(sizes: Mapping[str, int] | None = None) -> ir.Model:
        loaded = load_model(
            source,
            inputs=parse_input_specs(inputs),
            constants=parse_constant_specs(constants),
            static=False,
            sizes=sizes,
            bounds=parse_bound_specs(bounds),
        )
        # Passes rely on known shapes; without them there is no program to look at either, only
        # operators.
        if is_whole(loaded.graph):
            quantized = is_quantized(loaded) or has_narrow_weights(loaded)
            run_passes(loaded, quantized_passes() if quantized else float_passes())
        return loaded

    largest = read()
    symbols = symbols_of(largest)
    whole = is_whole(largest.graph)
    variants = list(variants_of(symbols, read)) if symbols and whole else []
    return check_model(largest, targets, symbols, variants)
