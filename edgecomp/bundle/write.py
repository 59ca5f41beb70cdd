"""Write a plan as a bundle: everything beside the final place, then one rename."""

import concurrent.futures
import importlib.metadata
import logging
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import edgecomp
from edgecomp.buffers import Buffer, sha256_of
from edgecomp.bundle import manifest, report, runtime_files
from edgecomp.bundle.build import Built, build_libraries
from edgecomp.bundle.directory import staged_directory
from edgecomp.bundle.golden import write_golden
from edgecomp.bundle.manifest import (
    BuildFacts,
    FileFacts,
    Manifest,
    MemoryFacts,
    Port,
    TargetFacts,
    WeightsFacts,
)
from edgecomp.bundle.plan_files import (
    WEIGHTS,
    WrittenWeights,
    plan_sources,
    shader_files,
    write_file,
    write_plan,
    write_runtime,
    write_weights,
)
from edgecomp.bundle.reader import Bundle, open_bundle
from edgecomp.bundle.rendering import keep_compiled, render
from edgecomp.bundle.sizes import sizes_of
from edgecomp.bundle.toolchain import Compiler, ToolchainUse, find_compiler, missing_hint
from edgecomp.cache_folder import cache_folder
from edgecomp.device.target import Target
from edgecomp.errors import Code, EdgecompError
from edgecomp.file_hash import file_sha256
from edgecomp.plan.plan import Extent, Plan, PlanPort, PlanSymbol
from edgecomp.plan.values import Array
from edgecomp.progress import Progress, silent

logger = logging.getLogger(__name__)

GoldenPair = tuple[Mapping[str, Array], Mapping[str, Array]]

MODEL = "model.onnx"
#: Weights of a portable model that one file cannot hold; the model names it.
MODEL_DATA = "model.onnx.data"


def write_bundle(
    plan: Plan,
    target: Target,
    directory: pathlib.Path | str,
    *,
    model_bytes: Buffer,
    model_data: Buffer = b"",
    golden: Sequence[GoldenPair],
    facts: Mapping[str, Any],
    toolchain: ToolchainUse = "auto",
    require_library: bool = False,
    embed_weights: bool = False,
    force: bool = False,
    cache: pathlib.Path | None = None,
    progress: Progress = silent,
) -> Bundle:
    """Write a bundle and open it.

    Args:
        plan: calls, tensors, weights and kernel objects; its name is a C identifier.
        target: device the kernels are for.
        directory: where the bundle goes.
        model_bytes: the portable ONNX model.
        model_data: weights that lie beside it, where one file cannot hold them.
        golden: pairs of inputs and expected outputs, arrays by port name.
        facts: what the steps before found; ``passes`` (list of names), ``quantization`` and
            ``accuracy`` (dicts) go into the manifest, all of it into the report. Values are
            JSON; no times and no paths of this machine.
        toolchain: what builds the libraries.
        require_library: fail when no compiler is found, instead of leaving the libraries out.
        embed_weights: put the weights into the libraries as well.
        force: replace an existing bundle.
        cache: where compiled runtime objects are kept, None for the default folder.
        progress: called with the sources compiled so far.

    Raises:
        EdgecompError: OUTPUT_EXISTS, OUTPUT_UNWRITABLE, TOOLCHAIN_MISSING, TOOLCHAIN_FAILED.
    """
    _check_name(plan.name)
    final = pathlib.Path(directory).absolute()
    compiler = _choose_compiler(target, toolchain, required=require_library)
    keep_compiled(cache or cache_folder())
    with (
        staged_directory(final, force=force) as folder,
        concurrent.futures.ThreadPoolExecutor(1) as beside,
    ):
        hashes = _start_large(beside, folder, model_bytes, model_data)
        write_runtime(folder, plan.devices)
        weights = write_weights(folder / WEIGHTS, plan)
        if weights.bytes == len(plan.weights):
            hashes[WEIGHTS] = beside.submit(sha256_of, plan.weights)
        else:
            hashes[WEIGHTS] = beside.submit(file_sha256, folder / WEIGHTS)
        kernels = write_plan(folder, plan, target, weights, embedded=embed_weights)
        ports = _ports(plan.inputs, plan.symbols), _ports(plan.outputs, plan.symbols)
        write_golden(folder, golden, *ports)
        if compiler is None:
            built = _not_built(target, toolchain)
        else:
            built = build_libraries(
                folder,
                plan.name,
                compiler,
                kernels,
                sources=plan_sources(plan),
                embedded=embed_weights,
                devices=plan.devices,
                cache=cache or cache_folder(),
                progress=progress,
            )
        _write_cmake(folder, plan, built.facts, kernels, embedded=embed_weights)
        hashed = {name: future.result() for name, future in hashes.items()}
        sizes = sizes_of(plan, built, weights.bytes, folder / MODEL)
        _write_report(folder, plan, sizes, built.facts.note, facts)
        content = _manifest(
            plan,
            target,
            ports,
            facts,
            weights=_weights_facts(weights, embedded=embed_weights),
            build=built.facts,
            sizes=sizes,
            golden_vectors=len(golden),
            files=_file_facts(folder, hashed),
        )
        write_file(folder / manifest.NAME, manifest.to_json(content).encode())
    return open_bundle(final)


def _manifest(
    plan: Plan,
    target: Target,
    ports: tuple[tuple[Port, ...], tuple[Port, ...]],
    facts: Mapping[str, Any],
    *,
    weights: WeightsFacts,
    build: BuildFacts,
    sizes: dict[str, int],
    golden_vectors: int,
    files: dict[str, FileFacts],
) -> Manifest:
    """What the plan and the steps before say, and what was written."""
    return Manifest(
        name=plan.name,
        versions=_versions(),
        target=_target_facts(target),
        inputs=ports[0],
        outputs=ports[1],
        weights=weights,
        build=build,
        memory=MemoryFacts(plan.arena_bytes, plan.arena_bound_bytes, plan.workspace_bytes),
        sizes=sizes,
        golden_vectors=golden_vectors,
        passes=tuple(facts.get("passes", ())),
        quantization=dict(facts.get("quantization", {})),
        accuracy=dict(facts.get("accuracy", {})),
        files=files,
        dynamic={s.name: (s.minimum, s.maximum) for s in plan.symbols if not s.derived},
        counted=tuple(s.name for s in plan.symbols if s.is_counted),
        devices=tuple(runtime_files.DEVICES[device] for device in plan.devices),
        cpu_plan=plan.cpu_plan is not None,
        shaders=shader_files(plan),
    )


def _start_large(
    beside: concurrent.futures.Executor,
    folder: pathlib.Path,
    model_bytes: Buffer,
    model_data: Buffer,
) -> dict[str, concurrent.futures.Future[str]]:
    """Large files are written and hashed while compilers run: name -> SHA-256."""
    contents = {MODEL: model_bytes, **({MODEL_DATA: model_data} if model_data else {})}
    return {
        name: beside.submit(_write_hashed, folder / name, content)
        for name, content in contents.items()
    }


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise EdgecompError(
            Code.USAGE,
            f"the model's name '{name}' is not a C identifier",
            hint="give one with --name: letters, digits and '_', not beginning with a digit",
        )


def _choose_compiler(target: Target, use: ToolchainUse, *, required: bool) -> Compiler | None:
    compiler = find_compiler(target, use)
    if compiler is None and required:
        raise EdgecompError(
            Code.TOOLCHAIN_MISSING,
            f"no C compiler for target '{target.name}' is installed",
            hint=missing_hint(target),
        )
    return compiler


def _not_built(target: Target, use: ToolchainUse) -> Built:
    if use == "none":
        note = "lib/ and bin/ were not built, as asked"
    else:
        note = (
            f"lib/ and bin/ were not built, because no C compiler for target '{target.name}' "
            f"is installed: {missing_hint(target)}"
        )
        logger.warning("%s", note)
    return Built(BuildFacts(note=note), runtime_bytes=0, descriptor_bytes=0)


def _write_cmake(
    folder: pathlib.Path,
    plan: Plan,
    built: BuildFacts,
    kernels: Sequence[str],
    *,
    embedded: bool,
) -> None:
    config = render(
        "config.cmake.j2", name=plan.name, static=built.static, shared=built.shared
    )
    write_file(folder / "cmake" / f"{plan.name}Config.cmake", config.encode())
    lists = render(
        "CMakeLists.txt.j2",
        name=plan.name,
        embedded=embedded,
        model_sources=plan_sources(plan),
        sources=runtime_files.runtime_files(plan.devices).library_sources,
        runner_sources=runtime_files.runtime_files().runner_sources,
        objects=kernels,
        loads_drivers=bool(plan.devices),
    )
    write_file(folder / "CMakeLists.txt", lists.encode())


def _write_report(
    folder: pathlib.Path,
    plan: Plan,
    sizes: Mapping[str, int],
    note: str,
    facts: Mapping[str, Any],
) -> None:
    content = report.build_report(plan, sizes, note, facts)
    write_file(folder / "report.json", report.report_json(content).encode())
    write_file(folder / "report.md", report.report_markdown(content).encode())


def _versions() -> dict[str, str]:
    """Versions that decide what comes out; read from the installed packages' metadata."""
    packages = ("apache-tvm", "onnx", "onnx-ir")
    found = {package: importlib.metadata.version(package) for package in packages}
    return {"edgecomp": edgecomp.__version__, **found}


def _target_facts(target: Target) -> TargetFacts:
    return TargetFacts(
        name=target.name,
        isa=target.core.isa,
        features=tuple(sorted(target.core.features)),
        triple=target.toolchain.triple,
    )


def _ports(ports: Sequence[PlanPort], symbols: Sequence[PlanSymbol]) -> tuple[Port, ...]:
    return tuple(
        Port(
            p.name,
            np.dtype(p.dtype).name,
            tuple(p.shape),
            tuple(_extent_text(extent, symbols) for extent in p.extents),
        )
        for p in ports
    )


def _extent_text(extent: Extent, symbols: Sequence[PlanSymbol]) -> str:
    """``12*length+1``, ``(width-1)/2``."""
    texts = []
    for factor, indices in extent.terms:
        names = [symbols[index].name for index in indices]
        texts.append("*".join([str(factor), *names] if factor != 1 or not names else names))
    text = "+".join(texts).replace("+-", "-") or "0"
    return text if extent.divisor == 1 else f"({text})/{extent.divisor}"


def _weights_facts(weights: WrittenWeights, *, embedded: bool) -> WeightsFacts:
    return WeightsFacts(WEIGHTS, weights.bytes, f"{weights.xxh3:016x}", embedded)


def _write_hashed(path: pathlib.Path, content: Buffer) -> str:
    """SHA-256 of what was written."""
    write_file(path, content)
    return sha256_of(content)


def _file_facts(folder: pathlib.Path, hashed: Mapping[str, str]) -> dict[str, FileFacts]:
    """Of every file; some are hashed already."""
    facts = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            facts[name] = FileFacts(path.stat().st_size, hashed.get(name) or file_sha256(path))
    return facts
