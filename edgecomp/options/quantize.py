"""Options of quantization, whatever the precisions are chosen by."""

import dataclasses
import pathlib

from edgecomp.options.image import ImageOptions
from edgecomp.options.model import ModelOptions
from edgecomp.options.option import (
    check_apart,
    check_choice,
    check_range,
    option,
    resolve,
    set_field,
    usage,
)
from edgecomp.options.precisions import (
    DYNAMIC_BITS,
    PRECISIONS,
    SIXTEEN_BITS,
    WEIGHT_BITS,
    WEIGHT_TYPES,
)

WEIGHT_METHODS = {"rtn": ("round-to-nearest",), "gptq": ()}
WEIGHT_RANGES = ("minmax", "mse")
CALIBRATION_METHODS = {
    "minmax": (),
    "percentile": (),
    "entropy": ("kl",),
    "mse": (),
    "ema": ("moving-average",),
}
WEIGHT_ROUNDINGS = ("nearest", "adaround")
#: Strengths of ``smooth_quant`` that are no numbers.
SEARCHED, NEVER = "auto", "off"
#: How recipes are written; TOML is only read.
RECIPE_SUFFIXES = (".yaml", ".yml", ".json")

_WITH_ACTIVATIONS = ("w8a8", "w4a8", *SIXTEEN_BITS, "auto")
_SEED_LIMIT = 2**32
#: Kernels read groups of weights in words of 32 bits, 16 weights at 2 bits each.
_LEAST_GROUP = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuantizeOptions(ModelOptions, ImageOptions):
    """How a float model becomes a quantized one."""

    output: pathlib.Path | None = option(
        None, "where the result is written", flags=("-o",), metavar="PATH"
    )
    force: bool = option(False, "replace an output that exists")
    precision: str = option(
        "fp32",
        "fp32: as trained; w8a8: 8-bit weights and activations; w4a8: the same with 4-bit weights, "
        "but for depthwise convolutions; w8a16-int, w16a16-int, w16a8: w8a8 with 16-bit integers as "
        "activations, as both or as weights; w8a8-dynamic, w4a8-dynamic: matrix products alone, whose "
        "activations are quantized while the model runs; auto: w8a8 where it makes "
        "the model faster on --target, other layers stay float; fp16, bf16, fp8 (E4M3), "
        "fp8-e5m2: weights of all products and tables as such floats, widened in registers, "
        "while activations stay float32; log2: weights of products as powers of two in 4 bits, "
        "looked up in registers; w8a16, w4a16, w3a16, w2a16, binary (a sign): weights of "
        "matrix products in so many bits, unpacked in registers, while activations stay float32 "
        "(not 16-bit integers)",
        choices=tuple(PRECISIONS),
    )
    target: str = option(
        "",
        "device that --precision auto chooses for: a name of 'edgecomp targets', or a .toml file",
        flags=("-t",),
    )
    calibration_data: str | None = option(
        None,
        "folder of images, .npy or .npz file, or script.py with get_calibration_data()",
        metavar="PATH",
    )
    data_free: bool = option(
        False,
        "calibrate without data: on made-up inputs, with the statistics of the model's batch "
        "normalization where it has any; measure the accuracy (docs/calibration.md)",
    )
    calibration_method: str = option(
        "mse", "how activation ranges are chosen", choices=tuple(CALIBRATION_METHODS)
    )
    calibration_percentile: float = option(
        99.99, "share of values inside the range, for --calibration-method percentile"
    )
    range_trials: bool = option(
        True,
        "with the method mse, without a recipe: try other methods too, and take for each part of "
        "the layers the one that brings the outputs nearest to float on samples that are held "
        "back",
    )
    num_samples: int = option(300, "calibration samples to use at most", metavar="N")
    calibration_tolerance: float = option(
        0.0,
        "stop reading samples when the last doubling of them changed no range by more than this "
        "share of it; 0 reads all",
        metavar="SHARE",
    )
    strict_calibration: bool = option(
        False, "fail where calibration warns about the samples (docs/calibration.md)"
    )
    per_channel: bool = option(True, "one weight scale per output channel")
    method: str | None = option(
        None,
        "how weights of few bits are chosen: rtn: each is rounded to nearest; gptq: each layer "
        "is rounded so that its results on the calibration data change least; by default gptq "
        "where there are such data",
        choices=tuple(WEIGHT_METHODS),
    )
    group_size: int | None = option(
        None,
        "inputs of a layer whose weights of few bits share a scale, a multiple of 16 that divides "
        "the inputs of every layer, or -1 for one scale per output, as by default for binary, w4a8 "
        "and w4a8-dynamic; for others it is 64, where the last group may be smaller",
        metavar="N",
    )
    symmetric: bool = option(True, "weights of few bits have no zero points")
    weight_ranges: str = option(
        "mse",
        "scale of a group of weights of few bits: mse: its squared error is least; minmax: its "
        "largest weights can be stored",
        choices=WEIGHT_RANGES,
    )
    bias_correction: bool | None = option(
        None,
        "take the mean error of every quantized product out of its bias; by default, without a "
        "recipe, of as many as bring the outputs nearest to float on samples that are held back",
    )
    equalize: bool = option(
        False,
        "move scales between consecutive layers until their channels reach equally far; the "
        "float model computes the same",
    )
    smooth_quant: str | None = option(
        None,
        "move scales of outlier channels of activations into the weights that read them, with "
        "this strength from 0 to 1, or auto for the best one of each layer, or off; the float "
        "model computes the same; by default, at w8a8 without a recipe, the best one of each "
        "layer behind a normalisation, where that brings the outputs nearer to float on samples "
        "that are held back",
        metavar="ALPHA|auto|off",
    )
    weight_rounding: str = option(
        "nearest",
        "nearest: each weight becomes the nearest number; adaround: learned from the calibration "
        "data, so that a layer's results change least (minutes on large models)",
        choices=WEIGHT_ROUNDINGS,
    )
    nodes_to_exclude: tuple[str, ...] = option(
        (), "node that stays float: its name, or re: and a regular expression", metavar="NAME"
    )
    op_types_to_quantize: tuple[str, ...] = option(
        (), "quantize only operators of this type", metavar="TYPE"
    )
    recipe: pathlib.Path | None = option(
        None,
        "YAML, JSON or TOML file that says what is done to which layer (docs/recipes.md); flags "
        "hold where it says nothing",
        metavar="FILE",
    )
    save_recipe: pathlib.Path | None = option(
        None,
        "write the recipe that was used, flags included, into this file",
        metavar="FILE",
    )
    strip_pruned: bool = option(True, "remove channels whose weights are all zero")
    seed: int = option(0, "for whatever is drawn at random")
    dump_passes: pathlib.Path | None = option(
        None, "write the model after each pass into this folder", metavar="DIR"
    )
    verify_passes: bool = option(False, "compare the model's numbers around each pass")

    def _check(self) -> None:
        set_field(self, "precision", resolve("precision", self.precision, PRECISIONS))
        method = resolve("calibration_method", self.calibration_method, CALIBRATION_METHODS)
        set_field(self, "calibration_method", method)
        if not 50 < self.calibration_percentile <= 100:
            raise usage("calibration_percentile", "expected more than 50 and at most 100")
        check_range("num_samples", self.num_samples, 1, None)
        if not 0 <= self.calibration_tolerance < 1:
            raise usage("calibration_tolerance", "expected at least 0 and less than 1")
        check_range("seed", self.seed, 0, _SEED_LIMIT - 1)
        if self.precision == "auto" and not self.target:
            raise usage(
                "precision",
                "what pays depends on the device",
                hint="add --target; 'edgecomp targets' lists the devices",
            )
        self._check_weights()
        check_choice("weight_rounding", self.weight_rounding, WEIGHT_ROUNDINGS)
        _check_strength(self.smooth_quant)
        check_recipe_file("save_recipe", self.save_recipe)
        check_apart(self, ("output", "save_recipe"), folders=("dump_passes",))
        if self.data_free:
            self._check_data_free()
        if not self._chooses_layers:
            self._check_float()

    @property
    def _chooses_layers(self) -> bool:
        """Whether something else than the precision says what is quantized."""
        return self.recipe is not None

    def _check_data_free(self) -> None:
        given = {
            "calibration_data": self.calibration_data,
            "equalize": self.equalize,
            "smooth_quant": self.smoothing,
        }
        for name in (name for name, is_given in given.items() if is_given):
            raise usage("data_free", f"not together with --{name.replace('_', '-')}")

    def _check_float(self) -> None:
        """A float model takes nothing that is for quantized ones; a recipe may quantize it."""
        given = {
            "bias_correction": self.bias_correction,
            "equalize": self.equalize,
            "smooth_quant": bool(self.smoothing),
            "weight_rounding": self.weight_rounding != "nearest",
            "data_free": self.data_free,
            "save_recipe": self.save_recipe is not None,
        }
        if self.precision not in _WITH_ACTIVATIONS:
            for name in (name for name, is_given in given.items() if is_given):
                raise usage(
                    name,
                    "it is for quantized activations",
                    hint=f"add --precision w8a8, or leave --{name.replace('_', '-')} out",
                )
        if (
            self.precision in ("fp32", *DYNAMIC_BITS, *WEIGHT_TYPES)
            and self.calibration_data is not None
        ):
            raise usage(
                "calibration_data",
                f"a model of precision {self.precision} needs no calibration",
                hint="add --precision w8a8, or leave --calibration-data out",
            )

    @property
    def needs_calibration(self) -> bool:
        """Whether there is nothing to do without calibration data."""
        return self.precision in _WITH_ACTIVATIONS or self.method == "gptq"

    @property
    def smoothing(self) -> str:
        """The strength of ``smooth_quant`` that is asked for, "" for none."""
        return "" if self.smooth_quant in (None, NEVER) else str(self.smooth_quant)

    def _check_weights(self) -> None:
        check_choice("weight_ranges", self.weight_ranges, WEIGHT_RANGES)
        if self.method is not None:
            set_field(self, "method", resolve("method", self.method, WEIGHT_METHODS))
        given = {
            "method": self.method is not None,
            "group_size": self.group_size is not None,
            "symmetric": not self.symmetric,
            "weight_ranges": self.weight_ranges != "mse",
        }
        if self.precision == "w4a8":
            given["method"] = given["group_size"] = False
        if self.precision == "w4a8-dynamic":
            given["group_size"] = False
        if self._chooses_layers:
            given["method"] = False
        if self.precision not in WEIGHT_BITS:
            for name in (name for name, is_given in given.items() if is_given):
                raise usage(
                    name,
                    f"it is for weights of few bits, and the precision is {self.precision}",
                    hint="add --precision w4a16, or leave it out",
                )
        if self.precision == "binary" and not self.symmetric:
            raise usage("symmetric", "signs have no zero points", hint="leave it out")
        if self.group_size is not None and self.group_size != -1:
            if self.group_size < _LEAST_GROUP or self.group_size % _LEAST_GROUP:
                raise usage(
                    "group_size",
                    f"expected a multiple of {_LEAST_GROUP}, or -1 for one group per output, "
                    f"found {self.group_size}",
                    hint="32, 64 and 128 are usual",
                )


def check_recipe_file(name: str, path: pathlib.Path | None) -> None:
    """Refuse a file that a recipe is to be written to and could not be read from again."""
    if path is not None and path.suffix not in RECIPE_SUFFIXES:
        raise usage(
            name,
            f"a recipe is not written as '{path.suffix}'",
            hint=f"give a file that ends in one of {', '.join(RECIPE_SUFFIXES)}",
        )


def _check_strength(given: str | None) -> None:
    """Whether --smooth-quant is nothing, auto, off or a number from 0 to 1."""
    if given in (None, SEARCHED, NEVER):
        return
    try:
        strength = float(str(given))  # False is no strength of 0
    except ValueError:
        strength = -1.0
    if not 0.0 <= strength <= 1.0:
        raise usage(
            "smooth_quant",
            f"expected a number from 0 to 1, auto or off, found '{given}'",
            hint="auto searches; 0.5 is usual",
        )
