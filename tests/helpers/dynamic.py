"""Models with dynamic dimensions: several of them in one library, run at any size."""

import dataclasses
import subprocess

import onnx

from edgecomp.bundle.plan_files import write_plan, write_runtime, write_weights
from edgecomp.bundle.toolchain import find_compiler
from edgecomp.device.load import load_target
from edgecomp.lower.lower import Variant, lower
from edgecomp.native import Session
from edgecomp.options import BuildOptions
from edgecomp.plan.sizes import Size, evaluate
from edgecomp.progress import silent
from edgecomp.steps.dynamic import golden_sizes, symbols_of, typical_sizes
from edgecomp.steps.prepare import prepare
from edgecomp.steps.watched_shapes import WatchedShapes


def dynamic_plan(proto, inputs, name="model", target="host", bounds=()):
    """The plan of a model with bounded inputs or counted dimensions, as a build makes it."""
    return dynamic_lowered(proto, inputs, name, target, bounds).plan


def dynamic_lowered(proto, inputs, name="model", target="host", bounds=(), **more):
    """What ``lower`` makes of such a model; ``more`` are its options."""
    device = load_target(target)
    options = BuildOptions(input=tuple(inputs), bound=tuple(bounds), cache_dir=None)
    base = prepare(proto, options, silent, target=device)
    symbols = symbols_of(base.model)

    def at(sizes):
        return prepare(proto, options, silent, target=device, sizes=sizes, largest=base).model

    watch = WatchedShapes(symbols, base.model)
    for sizes in golden_sizes(symbols):
        watch.note(sizes, at(sizes))
    variants = (
        Variant({s: sizes[s.name] // s.step for s in symbols}, at(sizes))
        for sizes in typical_sizes(symbols)
    )
    return lower(
        base.model,
        device,
        name=name,
        symbols=symbols,
        variants=watch.watched(variants, at),
        cpu_plan=False,
        workers=1,
        **more,
    )


def link(plans, folder):
    """One shared library of several plans; returns a function that opens one of them."""
    target = load_target("host")
    compiler = find_compiler(target)
    assert compiler is not None, "no C compiler"
    runtime = write_runtime(folder, tuple({d: None for plan in plans for d in plan.devices}))
    kernels = set()
    for plan in plans:
        weights = write_weights(folder / f"{plan.name}.bin", plan)
        kernels.update(write_plan(folder, plan, target, weights, embedded=False))
    includes = [f"-I{each}" for each in (*runtime.include_folders, "include")]
    models = [f"src/{plan.name}.c" for plan in plans]
    subprocess.run(
        [*compiler.compile_command, "-O1", "-w", *includes, *models, *runtime.library_sources],
        cwd=folder,
        check=True,
    )
    made = [*sorted(path.name for path in folder.glob("*.o")), *sorted(kernels)]
    (folder / "objects.txt").write_text("\n".join(made))
    compiler.link_shared(["@objects.txt"], "models.so", folder)

    def open_model(name, threads=1, **more):
        library, weights = folder / "models.so", folder / f"{name}.bin"
        return Session(library, weights=weights, model=name, threads=threads, **more)

    return open_model


def operation_at(operation, sizes):
    """A dynamic operation at given sizes of its symbols, and its value for each of the dynamic one's."""
    twins = {}

    def twin(value):
        if value not in twins:
            shape = tuple(evaluate(size, sizes) for size in value.shape)
            twins[value] = dataclasses.replace(value, shape=shape)
        return twins[value]

    inputs, outputs = map(twin, operation.inputs), map(twin, operation.outputs)
    kind = _at(operation.kind, sizes)
    return dataclasses.replace(
        operation, kind=kind, inputs=[*inputs], outputs=[*outputs]
    ), twins


def _at(field, sizes):
    """A kind without dynamic numbers."""
    if isinstance(field, Size):
        return evaluate(field, sizes)
    if isinstance(field, tuple):
        return tuple(_at(each, sizes) for each in field)
    if dataclasses.is_dataclass(field):
        changes = {
            f.name: _at(getattr(field, f.name), sizes) for f in dataclasses.fields(field)
        }
        return dataclasses.replace(field, **changes)
    return field


def symbolic(proto, **dimensions):
    """A copy whose inputs have named dimensions: ``symbolic(proto, x=("batch", 8))``."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for value in copy.graph.input:
        for dim, extent in zip(
            value.type.tensor_type.shape.dim, dimensions.get(value.name, ()), strict=False
        ):
            if isinstance(extent, str):
                dim.dim_param = extent
            else:
                dim.dim_value = extent
    return copy
