"""Every option once. The command line, the configuration file and docs/options.md come from here.

A field is an option: its name with dashes is the flag, its type says how the value is written,
its metadata holds the help text. ``tuple[str, ...]`` is a flag that may be repeated, a
``tuple[float, ...]`` is written with commas, a ``bool`` is ``--flag/--no-flag``.
"""

# ruff: noqa: RUF009 - the defaults that _option makes are dataclass fields.

import dataclasses
import inspect
import math
import pathlib
from collections.abc import Sequence
from typing import Any

from edgecomp.errors import Code, EdgecompError, nearest_hint

#: What numbers a model is compiled to, with the names other tools give it. a16 are floats, as where
#: language models are quantized, not 16-bit integers (docs/quantization.md).
PRECISIONS = {
    "fp32": ("float32", "f32"),
    "w8a8": ("int8", "8a8w", "static_wi8_ai8"),
    "auto": (),
    "fp16": ("float16", "f16"),
    "bf16": ("bfloat16",),
    "fp8": ("fp8-e4m3", "float8", "float8_e4m3fn", "f8e4m3"),
    "fp8-e5m2": ("float8_e5m2", "f8e5m2"),
    "log2": ("power-of-two", "pot4"),
    "w8a16": ("w8a32", "weight_only_wi8_afp32"),
    "w4a16": ("w4a32", "weight_only_wi4_afp32", "int4"),
    "w3a16": ("w3a32",),
    "w2a16": ("w2a32", "weight_only_wi2_afp32", "int2"),
    "binary": ("w1a16", "w1a32"),
}
#: Bits of a weight, by the precisions that store weights in few bits and nothing else.
WEIGHT_BITS = {"w8a16": 8, "w4a16": 4, "w3a16": 3, "w2a16": 2, "binary": 1}
#: Types that weights are rounded to, by the precisions that do nothing else.
WEIGHT_TYPES = {
    "fp16": "float16",
    "bf16": "bfloat16",
    "fp8": "float8_e4m3fn",
    "fp8-e5m2": "float8_e5m2",
    "log2": "log2",
}
WEIGHT_METHODS = {"rtn": ("round-to-nearest",), "gptq": ()}
WEIGHT_RANGES = ("minmax", "mse")
#: Where a portable model keeps what was lost in each layer, as JSON.
WEIGHTS_PROPERTY = "edgecomp.weights"
CALIBRATION_METHODS = {
    "minmax": (),
    "percentile": (),
    "entropy": ("kl",),
    "mse": (),
    "ema": ("moving-average",),
}
METRIC_DIRECTIONS = ("higher-better", "lower-better")
WEIGHT_ROUNDINGS = ("nearest", "adaround")
TOOLCHAINS = ("auto", "require", "none")
COMPARISONS = ("onnxruntime", "openvino", "litert", "executorch", "ncnn", "mnn")
LOG_LEVELS = ("debug", "info", "warning", "error")

_SEED_LIMIT = 2**32
_WITH_ACTIVATIONS = ("w8a8", "auto")
#: Kernels read groups of weights in words of 32 bits, 16 weights at 2 bits each.
_LEAST_GROUP = 16


@dataclasses.dataclass(frozen=True)
class OptionFacts:
    """What the command line and the reference page need to know about a field.

    Attributes:
        help: one sentence without a final period.
        flags: further spellings, ``-o``.
        metavar: what stands for the value, or "" for the type's own.
        choices: allowed values, or () for any.
    """

    help: str
    flags: tuple[str, ...] = ()
    metavar: str = ""
    choices: tuple[str, ...] = ()


def _option(
    default: Any,
    help: str,  # noqa: A002 - the word click and argparse have
    *,
    flags: Sequence[str] = (),
    metavar: str = "",
    choices: Sequence[str] = (),
) -> Any:
    facts = OptionFacts(help, tuple(flags), metavar, tuple(choices))
    return dataclasses.field(default=default, metadata={"option": facts})


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Options:
    """Runs the ``_check`` of every class an options class is made of."""

    def __post_init__(self) -> None:
        for cls in reversed(type(self).__mro__):
            check = cls.__dict__.get("_check")
            if check is not None:
                check(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelOptions(_Options):
    """The model and how it is read."""

    input: tuple[str, ...] = _option(
        (),
        "shape, and dtype if it changes, of a graph input; sets free dimensions. [1..512] is a "
        "dimension of any size in these bounds, [32..640:32] of a multiple of 32 in them; "
        "dimensions of one name in the model, or named as in [length=1..512], are one",
        metavar="NAME:1x3x224x224[:DTYPE]",
    )
    bound: tuple[str, ...] = _option(
        (),
        "bounds of a dimension that the data decides (NonZero, NonMaxSuppression), where those "
        "that follow from the shapes are too large; 'edgecomp check' names the dimensions",
        metavar="DIMENSION:[0..100]",
    )
    constant: tuple[str, ...] = _option(
        (),
        "contents of a graph input that is fixed at build time, which removes the input: what "
        "it decides, such as the branch of an If, is decided once",
        metavar="NAME=NUMBER[,NUMBER]",
    )
    opset: int | None = _option(
        None, "operator set the model is traced or converted to", metavar="N"
    )

    def _check(self) -> None:
        if self.opset is not None:
            _check_range("opset", self.opset, 1, None)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageOptions(_Options):
    """How an image becomes an input: resize, crop the centre, scale to 0..1, normalize."""

    mean: tuple[float, ...] = _option(
        (), "subtracted from each channel of an image whose pixels are 0..1", metavar="R,G,B"
    )
    std: tuple[float, ...] = _option(
        (), "each channel of an image is divided by it, after --mean", metavar="R,G,B"
    )
    resize: int | None = _option(
        None,
        "pixels of an image's shorter side before its centre is cropped; 0 stretches it to the "
        "input; by default the crop keeps 7/8, and an image of the input's size is taken as it is",
        metavar="PIXELS",
    )

    def _check(self) -> None:
        for name in ("mean", "std"):
            values = getattr(self, name)
            if len(values) not in (0, 1, 3, 4):
                raise _usage(name, f"expected 1, 3 or 4 numbers, found {len(values)}")
        if any(abs(value) > 1 for value in self.mean):
            raise _usage(
                "mean", "pixels are 0..1 before it", hint="divide mean and std by 255"
            )
        if not all(value > 0 for value in self.std):
            raise _usage("std", "expected positive numbers")
        if self.resize is not None:
            _check_range("resize", self.resize, 0, 16384)


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuantizeOptions(ModelOptions, ImageOptions):
    """How a float model becomes a quantized one."""

    output: pathlib.Path | None = _option(
        None, "where the result is written", flags=("-o",), metavar="PATH"
    )
    force: bool = _option(False, "replace an output that exists")
    precision: str = _option(
        "fp32",
        "fp32: as trained; w8a8: 8-bit weights and activations; auto: the same where it makes "
        "the model faster on --target, other layers stay float; fp16, bf16, fp8 (E4M3), "
        "fp8-e5m2: weights of all products and tables as such floats, widened in registers, "
        "while activations stay float32; log2: weights of products as powers of two in 4 bits, "
        "looked up in registers; w8a16, w4a16, w3a16, w2a16, binary (a sign): weights of "
        "matrix products in so many bits, unpacked in registers, while activations stay float32 "
        "(not 16-bit integers)",
        choices=tuple(PRECISIONS),
    )
    target: str = _option(
        "",
        "device that --precision auto chooses for: a name of 'edgecomp targets', or a .toml file",
        flags=("-t",),
    )
    calibration_data: str | None = _option(
        None,
        "folder of images, .npy or .npz file, or script.py with get_calibration_data()",
        metavar="PATH",
    )
    data_free: bool = _option(
        False,
        "calibrate without data: on made-up inputs, with the statistics of the model's batch "
        "normalization where it has any; measure the accuracy (docs/calibration.md)",
    )
    calibration_method: str = _option(
        "mse", "how activation ranges are chosen", choices=tuple(CALIBRATION_METHODS)
    )
    calibration_percentile: float = _option(
        99.99, "share of values inside the range, for --calibration-method percentile"
    )
    num_samples: int = _option(300, "calibration samples to use at most", metavar="N")
    calibration_tolerance: float = _option(
        0.0,
        "stop reading samples when the last doubling of them changed no range by more than this "
        "share of it; 0 reads all",
        metavar="SHARE",
    )
    strict_calibration: bool = _option(
        False, "fail where calibration warns about the samples (docs/calibration.md)"
    )
    per_channel: bool = _option(True, "one weight scale per output channel")
    method: str | None = _option(
        None,
        "how weights of few bits are chosen: rtn: each is rounded to nearest; gptq: each layer "
        "is rounded so that its results on the calibration data change least; by default gptq "
        "where there are such data",
        choices=tuple(WEIGHT_METHODS),
    )
    group_size: int | None = _option(
        None,
        "inputs of a layer whose weights of few bits share a scale, a multiple of 16 that divides "
        "the inputs of every layer, or -1 for one scale per output, as by default for binary; "
        "for others it is 64, where the last group may be smaller",
        metavar="N",
    )
    symmetric: bool = _option(True, "weights of few bits have no zero points")
    weight_ranges: str = _option(
        "mse",
        "scale of a group of weights of few bits: mse: its squared error is least; minmax: its "
        "largest weights can be stored",
        choices=WEIGHT_RANGES,
    )
    bias_correction: bool = _option(
        False, "take the mean error of every quantized product out of its bias"
    )
    equalize: bool = _option(
        False,
        "move scales between consecutive layers until their channels reach equally far; the "
        "float model computes the same",
    )
    smooth_quant: str = _option(
        "",
        "move scales of outlier channels of activations into the weights that read them, with "
        "this strength from 0 to 1, or auto for the best one of each layer; the float model "
        "computes the same",
        metavar="ALPHA|auto",
    )
    weight_rounding: str = _option(
        "nearest",
        "nearest: each weight becomes the nearest number; adaround: learned from the calibration "
        "data, so that a layer's results change least (minutes on large models)",
        choices=WEIGHT_ROUNDINGS,
    )
    nodes_to_exclude: tuple[str, ...] = _option(
        (), "node that stays float: its name, or re: and a regular expression", metavar="NAME"
    )
    op_types_to_quantize: tuple[str, ...] = _option(
        (), "quantize only operators of this type", metavar="TYPE"
    )
    recipe: pathlib.Path | None = _option(
        None,
        "YAML, JSON or TOML file that says what is done to which layer (docs/recipes.md); flags "
        "hold where it says nothing",
        metavar="FILE",
    )
    save_recipe: pathlib.Path | None = _option(
        None,
        "write the recipe that was used, flags included, into this file",
        metavar="FILE",
    )
    strip_pruned: bool = _option(True, "remove channels whose weights are all zero")
    seed: int = _option(0, "for whatever is drawn at random")
    dump_passes: pathlib.Path | None = _option(
        None, "write the model after each pass into this folder", metavar="DIR"
    )
    verify_passes: bool = _option(False, "compare the model's numbers around each pass")

    def _check(self) -> None:
        _set(self, "precision", _resolve("precision", self.precision, PRECISIONS))
        method = _resolve("calibration_method", self.calibration_method, CALIBRATION_METHODS)
        _set(self, "calibration_method", method)
        if not 50 < self.calibration_percentile <= 100:
            raise _usage("calibration_percentile", "expected more than 50 and at most 100")
        _check_range("num_samples", self.num_samples, 1, None)
        if not 0 <= self.calibration_tolerance < 1:
            raise _usage("calibration_tolerance", "expected at least 0 and less than 1")
        _check_range("seed", self.seed, 0, _SEED_LIMIT - 1)
        if self.precision == "auto" and not self.target:
            raise _usage(
                "precision",
                "what pays depends on the device",
                hint="add --target; 'edgecomp targets' lists the devices",
            )
        self._check_weights()
        _check_choice("weight_rounding", self.weight_rounding, WEIGHT_ROUNDINGS)
        _check_strength(self.smooth_quant)
        if self.data_free:
            self._check_data_free()
        if not self._chooses_layers:
            self._check_float()

    @property
    def _chooses_layers(self) -> bool:
        """Whether something else than the precision says what is quantized."""
        return self.recipe is not None

    def _check_data_free(self) -> None:
        for name in ("calibration_data", "equalize", "smooth_quant"):
            if getattr(self, name):
                raise _usage("data_free", f"not together with --{name.replace('_', '-')}")

    def _check_float(self) -> None:
        """A float model takes nothing that is for quantized ones; a recipe may quantize it."""
        given = {
            "bias_correction": self.bias_correction,
            "equalize": self.equalize,
            "smooth_quant": bool(self.smooth_quant),
            "weight_rounding": self.weight_rounding != "nearest",
            "data_free": self.data_free,
            "save_recipe": self.save_recipe is not None,
        }
        if self.precision not in _WITH_ACTIVATIONS:
            for name in (name for name, is_given in given.items() if is_given):
                raise _usage(
                    name,
                    "it is for quantized activations",
                    hint=f"add --precision w8a8, or leave --{name.replace('_', '-')} out",
                )
        if self.precision in ("fp32", *WEIGHT_TYPES) and self.calibration_data is not None:
            raise _usage(
                "calibration_data",
                f"a model of precision {self.precision} needs no calibration",
                hint="add --precision w8a8, or leave --calibration-data out",
            )

    @property
    def needs_calibration(self) -> bool:
        """Whether there is nothing to do without calibration data."""
        return self.precision in _WITH_ACTIVATIONS or self.method == "gptq"

    def _check_weights(self) -> None:
        _check_choice("weight_ranges", self.weight_ranges, WEIGHT_RANGES)
        if self.method is not None:
            _set(self, "method", _resolve("method", self.method, WEIGHT_METHODS))
        given = {
            "method": self.method is not None,
            "group_size": self.group_size is not None,
            "symmetric": not self.symmetric,
            "weight_ranges": self.weight_ranges != "mse",
        }
        if self.precision not in WEIGHT_BITS:
            for name in (name for name, is_given in given.items() if is_given):
                raise _usage(
                    name,
                    f"it is for weights of few bits, and the precision is {self.precision}",
                    hint="add --precision w4a16, or leave it out",
                )
        if self.precision == "binary" and not self.symmetric:
            raise _usage("symmetric", "signs have no zero points", hint="leave it out")
        if self.group_size is not None and self.group_size != -1:
            if self.group_size < _LEAST_GROUP or self.group_size % _LEAST_GROUP:
                raise _usage(
                    "group_size",
                    f"expected a multiple of {_LEAST_GROUP}, or -1 for one group per output, "
                    f"found {self.group_size}",
                    hint="32, 64 and 128 are usual",
                )


@dataclasses.dataclass(frozen=True, kw_only=True)
class BudgetOptions(QuantizeOptions):
    """How a float model becomes a quantized one, and what that may cost."""

    max_drop: str = _option(
        "",
        "what the metric may lose against the float model: in its own units, or with a % of "
        "float's; layers and settings are chosen until it holds (docs/budgets.md)",
        metavar="X|X%",
    )
    metric: str = _option(
        "",
        "function that runs a model on labelled data and returns how good it is "
        "(docs/budgets.md)",
        metavar="FILE.py:FUNCTION",
    )
    metric_direction: str = _option(
        "higher-better",
        "whether a higher or a lower metric is the better one",
        choices=METRIC_DIRECTIONS,
    )
    max_bytes: int | None = _option(
        None, "bytes that the stored weights may take", metavar="N"
    )
    max_ms: float | None = _option(
        None,
        "milliseconds that one inference on one thread may take on --target: measured on the "
        "host, modelled for others",
        metavar="T",
    )

    def _check(self) -> None:
        _check_choice("metric_direction", self.metric_direction, METRIC_DIRECTIONS)
        for name in ("max_bytes", "max_ms"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise _usage(name, f"expected a positive number, found {value}")
        if self.max_ms is not None and not self.target:
            raise _usage(
                "max_ms",
                "how long a model takes depends on the device",
                hint="add --target; 'edgecomp targets' lists the devices",
            )
        if self.max_drop:
            self.allowed_drop(1.0)
            if not self.metric:
                raise _usage(
                    "max_drop",
                    "it is the drop of a metric",
                    hint="add --metric FILE.py:FUNCTION (docs/budgets.md)",
                )
        if not self.has_budget:
            if self.metric:
                raise _usage(
                    "metric", "nothing is asked of it", hint="add --max-drop, 1% for example"
                )
            return
        if self.precision == "fp32" and self.recipe is None:
            _set(self, "precision", "w8a8")
        if self.precision in WEIGHT_BITS:
            raise _usage(
                "precision",
                f"with a budget every layer gets a precision of its own, not {self.precision}",
                hint="leave --precision out, or leave the budgets out",
            )

    @property
    def _chooses_layers(self) -> bool:
        return self.recipe is not None or self.has_budget

    @property
    def has_budget(self) -> bool:
        """Whether precisions are chosen under limits."""
        return bool(self.max_drop) or self.max_bytes is not None or self.max_ms is not None

    def allowed_drop(self, reference: float) -> float:
        """What the metric may lose, in its own units.

        Args:
            reference: metric of the float model.
        """
        text = self.max_drop.strip()
        try:
            number = float(text.removesuffix("%"))
        except ValueError:
            number = -1.0
        if not 0.0 <= number < math.inf:
            raise _usage(
                "max_drop",
                f"expected a number that is not negative, or one with %, found '{text}'",
                hint="0.01 is a hundredth in the metric's units, 1% a hundredth of float's",
            )
        return number / 100.0 * abs(reference) if text.endswith("%") else number


@dataclasses.dataclass(frozen=True, kw_only=True)
class BuildOptions(BudgetOptions):
    """The whole way from a model to a bundle."""

    target: str = _option(
        "host",
        "device to compile for: a name of 'edgecomp targets', or a .toml file",
        flags=("-t",),
    )
    name: str = _option("", "C name of the model, by default that of its file")
    require_full_target: bool = _option(
        False,
        "fail when an operator has no schedule of its own and would run slowly, or, on a target "
        "with a GPU, when one would run on the processor",
    )
    winograd: bool = _option(
        True,
        "compute float 3x3 convolutions by Winograd's method where it is modelled to be "
        "faster; their results then have another rounding error, and their weights take more "
        "room (docs/numerics.md)",
    )
    cost_table: str = _option(
        "",
        "file that 'edgecomp tune' wrote: its kernels are used before those that were measured "
        "for the target and come with edgecomp; none: choose kernels by the cost model alone",
        metavar="FILE|none",
    )
    embed_weights: bool = _option(
        False, "put the weights into the library instead of a file beside it"
    )
    toolchain: str = _option(
        "auto",
        "auto: link libraries where a C compiler for the target is found; require: fail "
        "without one; none: sources and objects only",
        choices=TOOLCHAINS,
    )
    cache_dir: pathlib.Path | None = _option(
        None,
        "where compiled kernels are kept between builds, by default $EDGECOMP_CACHE_DIR or "
        "the user's cache folder",
        metavar="DIR",
    )

    def _check(self) -> None:
        _check_choice("toolchain", self.toolchain, TOOLCHAINS)
        if self.name and not (self.name.isidentifier() and self.name.isascii()):
            raise _usage("name", f"'{self.name}' is not a C identifier")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeviceOptions(_Options):
    """Where a bundle runs."""

    device: str = _option(
        "local", "local, qemu or ssh:USER@HOST[:PORT]", flags=("-d",), metavar="DEVICE"
    )
    num_threads: int = _option(1, "threads that run kernels", metavar="N")

    def _check(self) -> None:
        kind, _, place = self.device.partition(":")
        if kind not in ("local", "qemu", "ssh"):
            hint = nearest_hint(kind, ("local", "qemu", "ssh:user@host"))
            raise _usage("device", f"unknown device '{self.device}'", hint=hint)
        if (kind == "ssh") != bool(place):
            raise _usage(
                "device", f"'{self.device}': the form is ssh:user@host, qemu or local"
            )
        _check_range("num_threads", self.num_threads, 1, 1024)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunOptions(DeviceOptions, ImageOptions):
    """One inference on the user's data."""

    input_file: tuple[str, ...] = _option(
        (),
        "contents of an input: .npy, raw .bin or an image; NAME= may be left out when there "
        "is one input",
        flags=("-i",),
        metavar="[NAME=]FILE",
    )
    output: pathlib.Path | None = _option(
        None, "write the outputs as .npy files into this folder", flags=("-o",), metavar="DIR"
    )
    labels: str | None = _option(
        None,
        "print the best classes by name: a text file with one name per line, or 'imagenet'",
        metavar="FILE|imagenet",
    )
    top: int = _option(5, "how many classes --labels prints", metavar="N")

    def _check(self) -> None:
        _check_range("top", self.top, 1, None)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchmarkOptions(DeviceOptions):
    """How long a bundle takes."""

    warmup_runs: int = _option(5, "runs before the measured ones", metavar="N")
    num_runs: int = _option(100, "measured runs at most", metavar="N")
    max_secs: float = _option(30.0, "stop measuring after this many seconds")
    shape: tuple[str, ...] = _option(
        (),
        "shape of an input with dynamic dimensions that is measured, by default the largest",
        metavar="NAME:1x16",
    )
    compare: tuple[str, ...] = _option(
        (),
        "measure other runtimes too, in turns with the bundle; names with commas between",
        choices=COMPARISONS,
    )
    peer_python: tuple[str, ...] = _option(
        (),
        "Python interpreter that has a runtime of --compare; their packages exclude each other, "
        "so that each may need a virtual environment of its own",
        metavar="ENGINE=PATH",
    )
    peer_model: tuple[str, ...] = _option(
        (),
        "model in the form of a runtime of --compare, instead of a conversion",
        metavar="ENGINE=FILE",
    )
    enable_op_profiling: bool = _option(False, "time every kernel call")
    result_json: pathlib.Path | None = _option(
        None, "write the result into this file", metavar="FILE"
    )

    def _check(self) -> None:
        _check_range("warmup_runs", self.warmup_runs, 0, None)
        _check_range("num_runs", self.num_runs, 1, None)
        if self.max_secs <= 0:
            raise _usage("max_secs", "expected a positive number")
        names = [name for part in self.compare for name in part.split(",")]
        for name in names:
            _check_choice("compare", name, COMPARISONS)
        _set(self, "compare", tuple(dict.fromkeys(names)))
        for option in ("peer_python", "peer_model"):
            for name, value in self.by_engine(option).items():
                _check_choice(option, name, COMPARISONS)
                if not value:
                    raise _usage(option, f"'{name}': the form is ENGINE=PATH")

    def by_engine(self, option: str) -> dict[str, str]:
        """``peer_python`` or ``peer_model``: engine to what was given for it."""
        pairs = (text.partition("=") for text in getattr(self, option))
        return {name: value for name, _, value in pairs}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TuneOptions(DeviceOptions, ModelOptions):
    """Which kernels of a model are measured, where and for how long."""

    output: pathlib.Path | None = _option(
        None,
        "cost table to extend, by default TARGET.json in the folder 'tuned' of the cache",
        flags=("-o",),
        metavar="FILE",
    )
    target: str = _option(
        "",
        "target whose kernels are measured, by default that of the bundle, else host",
        flags=("-t",),
    )
    trials: int = _option(15, "how often each kernel is measured", metavar="N")
    max_secs: float = _option(
        0.0, "begin no further layer after this many seconds; 0: measure all"
    )
    cache_dir: pathlib.Path | None = _option(
        None,
        "where compiled kernels are kept, by default $EDGECOMP_CACHE_DIR or the user's cache "
        "folder",
        metavar="DIR",
    )

    def _check(self) -> None:
        _check_range("trials", self.trials, 3, 10_000)
        if self.max_secs < 0:
            raise _usage("max_secs", "expected a positive number, or 0")


@dataclasses.dataclass(frozen=True, kw_only=True)
class VerifyOptions(DeviceOptions):
    """Whether a bundle computes on the device what it computed when it was built."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckOptions(ModelOptions):
    """Which operators of a model run how on which target."""

    target: tuple[str, ...] = _option(
        (), "target to look at, by default all of them and the host", flags=("-t",)
    )
    sarif: pathlib.Path | None = _option(
        None,
        "also write all problems as SARIF 2.1.0, for code hosts and editors",
        metavar="FILE",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DebugOptions(QuantizeOptions):
    """Which layers a quantized model loses its accuracy in, and what helps."""

    output: pathlib.Path | None = _option(
        None, "write the recipe that is suggested", flags=("-o",), metavar="RECIPE"
    )
    precision: str = _option("w8a8", "what the layers are compared in", choices=("w8a8",))
    apply: pathlib.Path | None = _option(
        None,
        "recipe that is debugged and gets the suggested steps; made where it does not exist",
        metavar="RECIPE",
    )
    samples: int = _option(
        16, "samples that float and quantized models are compared on", metavar="N"
    )
    bisect: bool = _option(
        True, "search the smallest set of layers that restores the outputs, and what helps"
    )
    restore: float | None = _option(
        None,
        "signal to quantization noise that the outputs shall have, in dB; by default 10 more "
        "than they have, and not more than 40",
        metavar="DB",
    )
    top: int = _option(20, "layers that the table shows, worst first", metavar="N")
    html: pathlib.Path | None = _option(
        None, "write a page with plots, which needs no other file", metavar="FILE"
    )
    node_data: pathlib.Path | None = _option(
        None, "write the layers' figures for Model Explorer", metavar="FILE"
    )

    def _check(self) -> None:
        if self.precision != "w8a8":
            raise _usage(
                "precision",
                f"layers of {self.precision} have nothing to compare",
                hint="leave it out; 'edgecomp quantize --precision auto --save-recipe FILE' "
                "writes the recipe of what auto chose",
            )
        _check_range("samples", self.samples, 1, None)
        _check_range("top", self.top, 1, None)
        if self.apply is not None and (self.recipe or self.output):
            raise _usage("apply", "not together with --recipe or --output")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TalkOptions(_Options):
    """How much is said, and how. Every verb has these."""

    json: bool = _option(False, "print the result, or the error, as JSON")
    verbose: bool = _option(
        False, "log what is done; show tracebacks of internal errors", flags=("-v",)
    )
    quiet: bool = _option(False, "no progress and no notes", flags=("-q",))
    log_level: str | None = _option(
        None, "log messages of this level and above to stderr", choices=LOG_LEVELS
    )

    def _check(self) -> None:
        if self.verbose and self.quiet:
            raise _usage("quiet", "not together with --verbose")
        if self.log_level is not None:
            _check_choice("log_level", self.log_level, LOG_LEVELS)


#: Verb -> its options, for the reference page. TalkOptions come with each.
VERBS: dict[str, type] = {
    "build": BuildOptions,
    "quantize": BudgetOptions,
    "run": RunOptions,
    "benchmark": BenchmarkOptions,
    "verify": VerifyOptions,
    "tune": TuneOptions,
    "check": CheckOptions,
    "debug": DebugOptions,
}

#: Verb -> defaults that are other than the class's.
VERB_DEFAULTS: dict[str, dict[str, Any]] = {"quantize": {"precision": "w8a8"}}


def fields_of(cls: type) -> "list[dataclasses.Field[Any]]":
    """The fields of an options class, its own before those of its bases."""
    by_name = {field.name: field for field in dataclasses.fields(cls)}
    names = [name for part in cls.__mro__ for name in inspect.get_annotations(part)]
    return [by_name[name] for name in dict.fromkeys(names) if name in by_name]


def facts_of(field: "dataclasses.Field[Any]") -> OptionFacts:
    """The metadata of an option's field."""
    facts: OptionFacts = field.metadata["option"]
    return facts


def flag_of(name: str) -> str:
    """``num_samples`` to ``--num-samples``."""
    return "--" + name.replace("_", "-")


def _resolve(name: str, value: str, known: dict[str, Any]) -> str:
    """The canonical name of a value that may be an alias."""
    for canonical, aliases in known.items():
        if value.lower() in (canonical, *aliases):
            return canonical
    raise _usage(name, f"unknown '{value}'", hint=nearest_hint(value, known))


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise _usage(name, f"unknown '{value}'", hint=nearest_hint(value, choices))


def _check_range(name: str, value: int, low: int, high: int | None) -> None:
    if value < low or (high is not None and value > high):
        limits = f"at least {low}" if high is None else f"{low} to {high}"
        raise _usage(name, f"expected {limits}, found {value}")


def _set(options: Any, name: str, value: Any) -> None:
    """Normalize a field of a frozen dataclass, from ``__post_init__`` only."""
    object.__setattr__(options, name, value)


def _check_strength(given: str) -> None:
    """Whether --smooth-quant is nothing, auto or a number from 0 to 1."""
    if given in ("", "auto"):
        return
    try:
        strength = float(given)
    except ValueError:
        strength = -1.0
    if not 0.0 <= strength <= 1.0:
        raise _usage(
            "smooth_quant",
            f"expected a number from 0 to 1, or auto, found '{given}'",
            hint="auto searches; 0.5 is usual",
        )


def _usage(name: str, cause: str, hint: str = "") -> EdgecompError:
    return EdgecompError(Code.USAGE, f"{flag_of(name)}: {cause}", hint=hint)
