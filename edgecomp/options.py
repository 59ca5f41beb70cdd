"""Every option once. The command line, the configuration file and docs/options.md come from here.

A field is an option: its name with dashes is the flag, its type says how the value is written,
its metadata holds the help text. ``tuple[str, ...]`` is a flag that may be repeated, a
``tuple[float, ...]`` is written with commas, a ``bool`` is ``--flag/--no-flag``.
"""

# ruff: noqa: RUF009 - the defaults that _option makes are dataclass fields.

import dataclasses
import inspect
import pathlib
from collections.abc import Sequence
from typing import Any

from edgecomp.errors import Code, EdgecompError, nearest_hint

#: What numbers a model is compiled to, with the names other tools give it.
PRECISIONS = {
    "fp32": ("float32", "f32"),
    "w8a8": ("int8", "8a8w", "static_wi8_ai8"),
    "auto": (),
}
CALIBRATION_METHODS = {"minmax": (), "percentile": (), "entropy": ("kl",), "mse": ()}
WEIGHT_ROUNDINGS = ("nearest", "adaround")
TOOLCHAINS = ("auto", "require", "none")
COMPARISONS = ("onnxruntime", "openvino", "litert", "executorch", "ncnn", "mnn")
LOG_LEVELS = ("debug", "info", "warning", "error")

_SEED_LIMIT = 2**32


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
        "dimension of any size in these bounds; dimensions of one name in the model, or named "
        "as in [length=1..512], are one",
        metavar="NAME:1x3x224x224[:DTYPE]",
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
        "the model faster on --target, other layers stay float",
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
    calibration_method: str = _option(
        "mse", "how activation ranges are chosen", choices=tuple(CALIBRATION_METHODS)
    )
    calibration_percentile: float = _option(
        99.99, "share of values inside the range, for --calibration-method percentile"
    )
    num_samples: int = _option(300, "calibration samples to use at most", metavar="N")
    per_channel: bool = _option(True, "one weight scale per output channel")
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
        _check_range("seed", self.seed, 0, _SEED_LIMIT - 1)
        if self.precision == "auto" and not self.target:
            raise _usage(
                "precision",
                "what pays depends on the device",
                hint="add --target; 'edgecomp targets' lists the devices",
            )
        for name in ("bias_correction", "equalize", "smooth_quant"):
            if self.precision == "fp32" and getattr(self, name):
                flag = f"--{name.replace('_', '-')}"
                raise _usage(
                    name,
                    "a float model has no error to correct",
                    hint=f"add --precision w8a8, or leave {flag} out",
                )
        if self.precision == "fp32" and self.weight_rounding != "nearest":
            raise _usage(
                "weight_rounding",
                "the weights of a float model are not rounded",
                hint="add --precision w8a8, or leave --weight-rounding out",
            )
        _check_choice("weight_rounding", self.weight_rounding, WEIGHT_ROUNDINGS)
        _check_strength(self.smooth_quant)
        if self.precision == "fp32" and self.calibration_data is not None:
            raise _usage(
                "calibration_data",
                "a float model needs no calibration",
                hint="add --precision w8a8, or leave --calibration-data out",
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class BuildOptions(QuantizeOptions):
    """The whole way from a model to a bundle."""

    target: str = _option(
        "host",
        "device to compile for: a name of 'edgecomp targets', or a .toml file",
        flags=("-t",),
    )
    name: str = _option("", "C name of the model, by default that of its file")
    require_full_target: bool = _option(
        False, "fail when an operator has no schedule of its own and would run slowly"
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
    "quantize": QuantizeOptions,
    "run": RunOptions,
    "benchmark": BenchmarkOptions,
    "verify": VerifyOptions,
    "tune": TuneOptions,
    "check": CheckOptions,
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
