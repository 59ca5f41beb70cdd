"""What the verbs have in common that make or take a bundle."""

import pathlib
from typing import Any

import click

from edgecomp.cli.table import size, table

#: The argument of verbs that take a bundle.
bundle_argument = click.argument(
    "bundle_path", metavar="BUNDLE", type=click.Path(path_type=pathlib.Path)
)


def default_output(model: str, suffix: str) -> pathlib.Path:
    """Where a result goes when ``-o`` is not given: named after the model, in this folder.

    Args:
        model: as given to the verb, a path or ``place:function``.
        suffix: of the result.
    """
    stem = pathlib.Path(model.rpartition(":")[2] if ":" in model else model).stem
    return pathlib.Path(stem + suffix)


def summary(bundle: Any) -> dict[str, Any]:
    """What ``build`` prints under ``--json``."""
    manifest, report = bundle.manifest, bundle.report
    bounds = {name: list(pair) for name, pair in manifest.dynamic.items()}
    gain = report["facts"].get("gain")
    return {
        "bundle": str(bundle.directory),
        "name": bundle.name,
        "target": manifest.target.name,
        "inputs": [_port(port) for port in bundle.inputs],
        "outputs": [_port(port) for port in bundle.outputs],
        **({"dynamic": bounds} if bounds else {}),
        "library": manifest.build.shared,
        "note": manifest.build.note,
        **({"shaders": dict(manifest.shaders)} if manifest.shaders else {}),
        "sizes": dict(manifest.sizes),
        "memory": report["memory"],
        "coverage": report["coverage"],
        "quantization": dict(manifest.quantization),
        **({"gain": gain} if gain else {}),
        "accuracy": dict(manifest.accuracy),
    }


def summary_text(facts: dict[str, Any]) -> str:
    """The same for people."""
    coverage, memory = facts["coverage"], facts["memory"]
    rows: list[tuple[str, object]] = [
        ("bundle", facts["bundle"]),
        ("target", facts["target"]),
        *(("input", _port_text(port)) for port in facts["inputs"]),
        *(("output", _port_text(port)) for port in facts["outputs"]),
        *(
            (f"dimension {name}", f"{low} to {high}")
            for name, (low, high) in facts.get("dynamic", {}).items()
        ),
        ("library", facts["library"] or f"none: {facts['note']}"),
        *_shader_rows(facts.get("shaders", {})),
        *((kind.replace("_", " "), size(count)) for kind, count in facts["sizes"].items()),
        (
            "arena",
            f"{size(memory['arena_bytes'])} (bound {size(memory['arena_bound_bytes'])})",
        ),
        ("calls", f"{coverage['calls']}, {coverage['fallback_calls']} through the fallback"),
        ("multiply-adds", f"{coverage['multiply_adds'] / 1e6:.1f} million"),
        *(_fact_rows("quantization", facts["quantization"])),
        *([("gain", facts["gain"]["summary"])] if "gain" in facts else []),
        *(_fact_rows("accuracy", facts["accuracy"])),
    ]
    return table(("", "built"), rows)


def _shader_rows(shaders: dict[str, str]) -> list[tuple[str, object]]:
    """What the kernels in a bundle are for that its library does not run."""
    if not shaders:
        return []
    who = {"metal": "Metal", "wgsl": "WebGPU"}[shaders["language"]]
    rows: list[tuple[str, object]] = [
        (f"{who} kernels", f"{shaders['source']}, started as {shaders['table']} says"),
        ("run by", f"your app's {who} code; the library runs the processor's plan"),
    ]
    if shaders["language"] == "metal":
        rows.append(("not checked", "by Apple's compiler: there is none on this machine"))
    return rows


def _fact_rows(group: str, facts: dict[str, Any]) -> list[tuple[str, object]]:
    return [
        (f"{group}: {key.replace('_', ' ')}", value)
        for key, value in facts.items()
        if isinstance(value, str | int | float)
    ]


def _port(port: Any) -> dict[str, Any]:
    dimensions = {"dimensions": list(port.dimensions)} if port.dimensions else {}
    return {"name": port.name, "dtype": port.dtype, "shape": list(port.shape), **dimensions}


def _port_text(port: dict[str, Any]) -> str:
    extents = [
        extent if extent.isdigit() else f"[{extent}]"
        for extent in map(str, port.get("dimensions") or port["shape"])
    ]
    return f"{port['name']} {port['dtype']} {'x'.join(extents) or 'scalar'}"
