"""What a toolchain builds a plan from, as files: the runtime, the model's source, the kernels."""

import dataclasses
import pathlib

import xxhash

from edgecomp.buffers import Buffer, pieces, write_pieces
from edgecomp.bundle import elf, source
from edgecomp.bundle.launch_table import table_text
from edgecomp.bundle.runtime_files import RuntimeFiles, runtime_files
from edgecomp.device.target import Target
from edgecomp.plan.plan import Plan, Storage
from edgecomp.plan.values import SLACK_BYTES

WEIGHTS = "weights.bin"


@dataclasses.dataclass(frozen=True)
class WrittenWeights:
    """Length and XXH3 of a weights file."""

    bytes: int
    xxh3: int


def write_weights(path: pathlib.Path, plan: Plan) -> WrittenWeights:
    """Write the weights with the readable bytes that must follow the last tensor."""
    plans = [*plan.plans, *([plan.shaders.plan] if plan.shaders else [])]
    tensors = [tensor for each in plans for tensor in each.tensors]
    ends = [t.offset_bytes + t.bytes for t in tensors if t.storage is Storage.WEIGHTS]
    needed = max(ends, default=0) + SLACK_BYTES
    digest = xxhash.xxh3_64()
    path.parent.mkdir(parents=True, exist_ok=True)
    slack = bytes(max(0, needed - len(plan.weights)))
    write_pieces(path, plan.weights)
    with path.open("ab") as file:
        file.write(slack)
    for buffer in (plan.weights, slack):
        for piece in pieces(buffer):
            digest.update(piece)
    return WrittenWeights(len(plan.weights) + len(slack), digest.intdigest())


def write_runtime(folder: pathlib.Path, devices: tuple[int, ...] = ()) -> RuntimeFiles:
    """Write the runtime's headers and sources; return what they are.

    Args:
        folder: of the bundle.
        devices: back ends beside the CPU's.
    """
    runtime = runtime_files(devices)
    for path, content in runtime.contents.items():
        write_file(folder / path, content)
    return runtime


def plan_sources(plan: Plan) -> list[str]:
    """Paths in the bundle of the C sources of a plan and, where it has one, of its CPU plan."""
    own = f"src/{plan.name}.c"
    return [own, f"src/{plan.name}_cpu_plan.c"] if plan.cpu_plan else [own]


def write_plan(
    folder: pathlib.Path,
    plan: Plan,
    target: Target,
    weights: WrittenWeights,
    *,
    embedded: bool,
) -> list[str]:
    """Write ``include/<name>.h``, the plan's C sources and the kernels in ``objects/``.

    Args:
        folder: also of the runtime.
        plan: what to write.
        target: device the kernels are for.
        weights: as written.
        embedded: whether the weights are linked in, by ``src/<name>_weights.S``.

    Returns:
        Paths of the kernels' objects.
    """
    name = plan.name
    write_file(folder / "include" / f"{name}.h", source.model_header(plan).encode())
    for each, path in zip(plan.plans, plan_sources(plan), strict=True):
        text = source.model_source(
            each,
            target,
            weights_bytes=weights.bytes,
            weights_hash=weights.xxh3,
            embedded=embedded,
            is_cpu_plan=each is not plan,
        )
        write_file(folder / path, text.encode())
    for program in plan.programs:
        if program.binary:  # for those who want to read or to compile it
            write_file(folder / "src" / f"{name}.cu", program.text.encode())
    if plan.shaders:
        files = shader_files(plan)
        table = table_text(
            plan.shaders,
            source=pathlib.PurePosixPath(files["source"]).name,
            weights=f"../{WEIGHTS}",
        )
        write_file(folder / files["source"], plan.shaders.text.encode())
        write_file(folder / files["table"], table.encode())
    if embedded:
        write_file(folder / "src" / f"{name}_weights.S", source.weights_source(plan).encode())
    kernels = []
    for kernel, content in sorted(plan.objects.items()):
        kernels.append(f"objects/{kernel.removesuffix('.o')}.o")
        write_file(folder / kernels[-1], elf.own_weak_symbols(content))
    return kernels


def shader_files(plan: Plan) -> dict[str, str]:
    """What the manifest says of kernels for an app's own GPU code; empty without."""
    if plan.shaders is None:
        return {}
    language, stem = plan.shaders.language, f"shaders/{plan.name}"
    return {"language": language, "source": f"{stem}.{language}", "table": f"{stem}.json"}


def write_file(path: pathlib.Path, content: Buffer) -> None:
    """Write a file; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_pieces(path, content)
