"""Command-line flags from options classes."""

import dataclasses
import functools
import pathlib
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

import click

from edgecomp.cli.config import read_config
from edgecomp.cli.talk import Talk
from edgecomp.options import TalkOptions, facts_of, fields_of, flag_of

Function = Callable[..., Any]


class _Numbers(click.ParamType):  # type: ignore[type-arg]
    """Numbers with commas between them; click's class is generic since 8.2 only."""

    name = "number,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        if not isinstance(value, str):
            return tuple(value)
        try:
            return tuple(float(part) for part in value.split(","))
        except ValueError:
            self.fail(f"'{value}' is not a list of numbers with commas between", param, ctx)


_TYPES: dict[Any, Any] = {
    int: click.INT,
    float: click.FLOAT,
    str: click.STRING,
    pathlib.Path: click.Path(path_type=pathlib.Path),
}


def flags_of(cls: type, presets: Mapping[str, Any] | None = None) -> list[click.Option]:
    """One click option per field, in the order of ``fields_of``.

    Args:
        cls: an options class.
        presets: field name -> default of this verb, where it is another than the field's.
    """
    kinds = typing.get_type_hints(cls)
    presets = presets or {}
    return [
        _flag(field, kinds[field.name], presets.get(field.name, field.default))
        for field in fields_of(cls)
    ]


def with_options(
    cls: type | None, *, config: bool = False, presets: Mapping[str, Any] | None = None
) -> Callable[[Function], Function]:
    """Give a verb the flags of an options class, and those of ``TalkOptions``.

    The decorated function gets ``options`` (an instance of ``cls``, left out when that is None)
    and ``talk`` besides its own parameters.

    Args:
        cls: the options class, or None for a verb without options.
        config: whether the verb also takes ``-c FILE``, from which options come that are not
            given as flags. A key ``model`` there fills the argument ``model``.
        presets: as in ``flags_of``.
    """

    def decorate(function: Function) -> Function:
        @click.pass_context
        @functools.wraps(function)
        def command(context: click.Context, /, **values: Any) -> Any:
            talk = Talk(TalkOptions(**_take(TalkOptions, values)))
            if cls is not None:
                taken = _take(cls, values)
                if config:
                    _fill_from_config(cls, context, values, taken)
                values["options"] = cls(**taken)
            return function(talk=talk, **values)

        flags = [*(flags_of(cls, presets) if cls else []), *flags_of(TalkOptions)]
        if config:
            flags.insert(0, _CONFIG_FLAG)
        for flag in reversed(flags):
            _attach(command, flag)
        return command

    return decorate


def model_argument(function: Function) -> Function:
    """Give a verb the argument MODEL, which ``-m`` can give too."""
    function = click.option("-m", "--model", "model_flag", metavar="MODEL", hidden=True)(
        _merge_model(function)
    )
    return click.argument("model", required=False)(function)


def require_model(model: str | None) -> str:
    """The MODEL of a verb, which may have come from a configuration file."""
    if not model:
        raise click.UsageError("Missing argument 'MODEL'.", click.get_current_context())
    return model


MODEL_HELP = (
    "MODEL is an .onnx file, a .pt2 file, or FILE.py:FUNCTION or PACKAGE.MODULE:FUNCTION that "
    "returns a torch module and example inputs."
)

_CONFIG_FLAG = click.Option(
    ["-c", "--config"],
    type=click.Path(path_type=pathlib.Path),
    metavar="FILE",
    help="YAML, TOML or JSON file with options (and 'model'); flags go before it",
)


def _flag(field: "dataclasses.Field[Any]", kind: Any, default: Any) -> click.Option:
    facts = facts_of(field)
    long = flag_of(field.name)
    settings: dict[str, Any] = {"help": facts.help, "default": default}
    inner = _without_none(kind)
    if inner is bool:
        names = long if default is False else f"{long}/--no-{long[2:]}"
        settings |= {"type": bool, "is_flag": True, "show_default": bool(default)}
        return click.Option([field.name, *facts.flags, names], **settings)
    metavar = facts.metavar or ("|".join(facts.choices) if facts.choices else None)
    settings |= {"metavar": metavar, "show_default": _worth_showing(default)}
    if typing.get_origin(inner) is tuple:
        of_numbers = typing.get_args(inner)[0] is float
        settings |= {"type": _Numbers()} if of_numbers else {"multiple": True}
    else:
        settings["type"] = _TYPES[inner]
    return click.Option([field.name, *facts.flags, long], **settings)


def _without_none(kind: Any) -> Any:
    if typing.get_origin(kind) not in (types.UnionType, typing.Union):
        return kind
    (inner,) = (a for a in typing.get_args(kind) if a is not types.NoneType)
    return inner


def _worth_showing(default: Any) -> bool:
    return default not in (None, "", ())


def _take(cls: type, values: dict[str, Any]) -> dict[str, Any]:
    """Remove the fields of an options class from the verb's values."""
    taken = {field.name: values.pop(field.name) for field in dataclasses.fields(cls)}
    return {key: tuple(v) if isinstance(v, list) else v for key, v in taken.items()}


def _fill_from_config(
    cls: type, context: click.Context, values: dict[str, Any], taken: dict[str, Any]
) -> None:
    path = values.pop("config")
    if path is None:
        return
    content = read_config(path, cls)
    model = content.pop("model", None)
    values["model"] = values.get("model") or model
    default = click.core.ParameterSource.DEFAULT
    given = {n for n in content if context.get_parameter_source(n) is not default}
    taken.update({name: value for name, value in content.items() if name not in given})


def _attach(function: Function, flag: click.Option) -> None:
    """What ``click.option`` does with an option that exists already."""
    parameters: list[click.Parameter] = getattr(function, "__click_params__", [])
    parameters.append(flag)
    function.__click_params__ = parameters  # type: ignore[attr-defined]


def _merge_model(function: Function) -> Function:
    @functools.wraps(function)
    def merged(*args: Any, model: str | None, model_flag: str | None, **values: Any) -> Any:
        if model and model_flag:
            raise click.UsageError("MODEL is given twice.", click.get_current_context())
        return function(*args, model=model or model_flag, **values)

    return merged
