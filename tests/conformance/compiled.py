"""Many models in one library: build the tests for the host, run them in the native runtime."""

import contextlib
import dataclasses
import io
import pathlib
import re
import subprocess
import warnings
from collections.abc import Sequence

import numpy as np
from conformance.suite import Case

from edgecomp.bundle.plan_files import write_plan, write_runtime, write_weights
from edgecomp.bundle.toolchain import find_compiler
from edgecomp.device.load import load_target
from edgecomp.errors import Code, EdgecompError
from edgecomp.frontend.load import load_model
from edgecomp.graph.qdq import is_quantized
from edgecomp.lower.lower import Variant, lower
from edgecomp.native import Session
from edgecomp.passes.pipeline import float_passes, quantized_passes, run_passes
from edgecomp.plan.plan import Plan
from edgecomp.steps.dynamic import symbols_of, typical_sizes


@dataclasses.dataclass
class Outcome:
    """What became of a test: ``problem`` is "" where it passed.

    Attributes:
        stage: build, run or compare.
        fallbacks: operators that no schedule expressed.
    """

    problem: str = ""
    stage: str = ""
    fallbacks: tuple[str, ...] = ()


def run_cases(cases: Sequence[Case], folder: pathlib.Path) -> dict[str, Outcome]:
    """Build all, link once, run each. Returns an outcome per test name."""
    outcomes: dict[str, Outcome] = {}
    plans: dict[str, Plan] = {}
    for case in cases:
        try:
            plans[case.name], fallbacks = _build(case)
            outcomes[case.name] = Outcome(fallbacks=fallbacks)
        except EdgecompError as error:
            outcomes[case.name] = Outcome(f"{error.code.text} {error.cause}", "build")
        except Exception as error:  # a crash of the compiler is a failure of this test alone
            outcomes[case.name] = Outcome(f"crash {type(error).__name__}: {error}", "build")
    if not plans:
        return outcomes
    library = _link(plans, folder)
    for case in cases:
        if case.name in plans:
            outcome = outcomes[case.name]
            outcome.stage, outcome.problem = _run(case, library, folder)
    return outcomes


def _build(case: Case) -> tuple[Plan, tuple[str, ...]]:
    if not all(isinstance(each, np.ndarray) for row in case.feeds for each in row):
        raise EdgecompError(Code.OPERATOR_UNSUPPORTED, "inputs that are not tensors")
    feeds = dict(
        zip([value.name for value in case.model.graph.input], case.feeds[0], strict=False)
    )
    constants = {name: feeds[name] for name in case.bound if name in feeds}
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        specs = _specs(feeds, constants)

        def read(sizes=None):
            model = load_model(case.model, constants=constants, inputs=specs, sizes=sizes)
            run_passes(model, quantized_passes() if is_quantized(model) else float_passes())
            return model

        model = read()
        symbols = symbols_of(model)
        variants = [
            Variant({s: sizes[s.name] for s in symbols}, read(sizes))
            for sizes in (typical_sizes(symbols) if symbols else ())
        ]
        lowered = lower(
            model,
            load_target("host"),
            name=_identifier(case),
            workers=1,
            symbols=symbols,
            variants=variants,
        )
    return lowered.plan, tuple(refusal.operator for refusal in lowered.fallbacks)


def _specs(feeds, constants):
    from edgecomp.frontend.input_spec import InputSpec

    return {
        name: InputSpec(name, array.shape)
        for name, array in feeds.items()
        if name not in constants
    }


def _identifier(case: Case) -> str:
    return re.sub(r"\W", "_", case.name)


def _link(plans: dict[str, Plan], folder: pathlib.Path) -> pathlib.Path:
    """One shared library with the runtime and every plan's descriptor and kernels."""
    target = load_target("host")
    compiler = find_compiler(target)
    assert compiler is not None, "no C compiler"
    runtime = write_runtime(folder)
    kernels: set[str] = set()
    for plan in plans.values():
        weights = write_weights(folder / f"{plan.name}.bin", plan)
        kernels.update(write_plan(folder, plan, target, weights, embedded=False))
    models = [f"src/{plan.name}.c" for plan in plans.values()]
    includes = [f"-I{each}" for each in (*runtime.include_folders, "include")]
    subprocess.run(
        [*compiler.compile_command, "-O0", "-w", *includes, *models, *runtime.library_sources],
        cwd=folder,
        check=True,
    )
    made = [*sorted(path.name for path in folder.glob("*.o")), *sorted(kernels)]
    (folder / "objects.txt").write_text("\n".join(made))
    compiler.link_shared(["@objects.txt"], "models.so", folder)
    return folder / "models.so"


def _run(case: Case, library: pathlib.Path, folder: pathlib.Path) -> tuple[str, str]:
    name = _identifier(case)
    try:
        with Session(library, weights=folder / f"{name}.bin", model=name) as session:
            for feeds, expected in zip(case.feeds, case.expected, strict=True):
                given = dict(
                    zip([v.name for v in case.model.graph.input], feeds, strict=False)
                )
                wanted = {port.name for port in session.inputs}
                outputs = session.run({n: a for n, a in given.items() if n in wanted})
                problem = _compare(case, outputs, expected)
                if problem:
                    return "compare", problem
    except EdgecompError as error:
        return "run", str(error).splitlines()[0]
    return "", ""


def _compare(case: Case, outputs: dict[str, np.ndarray], expected: list[object]) -> str:
    """The suite's own comparison (onnx.backend.test.runner.Runner.assert_similar_outputs)."""
    found = list(outputs.values())
    if len(found) != len(expected):
        return f"{len(found)} outputs instead of {len(expected)}"
    for index, (out, ref) in enumerate(zip(found, expected, strict=True)):
        ref = np.asarray(ref)
        if out.shape != ref.shape:
            return f"output {index} is {list(out.shape)}, not {list(ref.shape)}"
        if out.dtype != ref.dtype:
            return f"output {index} is {out.dtype}, not {ref.dtype}"
        rtol = case.rtol
        if out.dtype.name == "bfloat16":
            rtol = max(rtol, 2**-6)
        if out.dtype.kind not in "fiub":
            out, ref = out.astype(np.float32), ref.astype(np.float32)
        with np.errstate(all="ignore"):
            near = np.isclose(out, ref, rtol=rtol, atol=case.atol, equal_nan=True)
        if not near.all():
            at = tuple(int(i) for i in np.argwhere(~near)[0])
            count = int((~near).sum())
            return f"output {index}: {count} of {near.size} differ, {out[at]} for {ref[at]}"
    return ""
