"""Options of the whole way from a model to a bundle."""

import dataclasses
import pathlib

from edgecomp.options.budget import BudgetOptions
from edgecomp.options.option import check_apart, check_choice, option, usage

ACCELERATORS = ("cpu", "gpu")
TOOLCHAINS = ("auto", "require", "none")


@dataclasses.dataclass(frozen=True, kw_only=True)
class BuildOptions(BudgetOptions):
    """The whole way from a model to a bundle."""

    target: str = option(
        "host",
        "device to compile for: a name of 'edgecomp targets', or a .toml file",
        flags=("-t",),
    )
    name: str = option("", "C name of the model, by default that of its file")
    require_full_target: bool = option(
        False,
        "fail when an operator has no schedule of its own and would run slowly, or, on a target "
        "with a GPU, when one would run on the processor because the GPU has no kernel for it",
    )
    accelerator: str = option(
        "",
        "what of the target computes. gpu: the GPU whatever it has kernels for, the processor the "
        "rest, as it is where nothing is given; cpu: the processor alone; cpu,gpu: each operation "
        "where all together take the least time by measured and modelled cost, copies included",
        metavar="cpu|gpu|cpu,gpu",
    )
    cpu_plan: bool = option(
        True,
        "on a target with a GPU, also put calls of the processor alone into the bundle, which run "
        "where the GPU or its driver is missing or fails; they take room for kernels, and for "
        "weights in the order that they read (report.md says how much)",
    )
    winograd: bool = option(
        True,
        "compute float 3x3 convolutions and, on cores that add beside they multiply, float products "
        "by Winograd's methods where they are modelled to be faster; results then have another "
        "rounding error, and weights of convolutions take more room (docs/numerics.md)",
    )
    allow_tf32: bool = option(
        False,
        "on a GPU with tensor cores for tf32, round the operands of float32 products to its 10 bits "
        "of mantissa (float32 has 23); sums stay float32",
    )
    cost_table: str = option(
        "",
        "file that 'edgecomp tune' wrote: its kernels are used before those that were measured "
        "for the target and come with edgecomp; none: choose kernels by the cost model alone",
        metavar="FILE|none",
    )
    embed_weights: bool = option(
        False, "put the weights into the library instead of a file beside it"
    )
    toolchain: str = option(
        "auto",
        "auto: link libraries where a C compiler for the target is found; require: fail "
        "without one; none: sources and objects only",
        choices=TOOLCHAINS,
    )
    cache_dir: pathlib.Path | None = option(
        None,
        "where compiled kernels are kept between builds, by default $EDGECOMP_CACHE_DIR or "
        "the user's cache folder",
        metavar="DIR",
    )

    def _check(self) -> None:
        check_choice("toolchain", self.toolchain, TOOLCHAINS)
        for name in self.accelerators:
            check_choice("accelerator", name, ACCELERATORS)
        if self.name and not (self.name.isidentifier() and self.name.isascii()):
            raise usage("name", f"'{self.name}' is not a C identifier")
        check_apart(self, ("output",), folders=("cache_dir",))

    @property
    def accelerators(self) -> frozenset[str]:
        """Those of ``--accelerator``; none where nothing is given."""
        return frozenset(self.accelerator.split(",") if self.accelerator else ())
