"""The descriptor as C: it compiles without a warning and holds what the plan holds."""

import dataclasses
import shutil
import subprocess

import pytest
from helpers.small_plan import small_plan
from helpers.targets import ARMV7, AVX2

from edgecomp.bundle import source
from edgecomp.errors import Code, EdgecompError
from edgecomp.plan.plan import PlanCall, PlanPort, PlanTensor, Storage
from edgecomp.resources import resource_folder


@pytest.fixture(scope="module")
def plan():
    return small_plan(AVX2)


def _text(plan, **options):
    values = {"weights_bytes": 384, "weights_hash": 0xFEDCBA9876543210, "embedded": False}
    return source.model_source(plan, AVX2, **{**values, **options})


def _compile(plan, text, folder):
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not compiler:
        pytest.skip("no C compiler on this machine")
    (folder / "model.c").write_text(text)
    (folder / f"{plan.name}.h").write_text(source.model_header(plan))
    flags = "-std=c99 -pedantic -Wall -Wextra -Werror -Wshadow -Wconversion -fsyntax-only"
    include = f"-I{resource_folder('runtime') / 'include'}"
    command = [compiler, *flags.split(), include, f"-I{folder}", str(folder / "model.c")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("embedded", [False, True])
def test_compiles_without_a_warning(plan, embedded, tmp_path):
    _compile(plan, _text(plan, embedded=embedded), tmp_path)


def test_a_cpu_plan_is_a_source_of_its_own(plan, tmp_path):
    both = dataclasses.replace(plan, cpu_plan=plan)
    own, other = _text(both), _text(plan, is_cpu_plan=True)
    assert ".cpu_plan = &ec_cpu_plan_small," in own
    assert "ec_model_default" not in other
    for text in (own, other):
        _compile(plan, text, tmp_path)


def test_nasty_names_and_sizes(plan, tmp_path):
    nasty = 'x"\\??/*/\n中'
    huge = PlanTensor(nasty, "int8", (1,), Storage.ARENA, 1 << 40, 1 << 33)
    calls = [
        dataclasses.replace(c, nodes=(nasty, "b"), source=nasty, multiply_adds=1 << 60)
        for c in plan.calls
    ]
    changed = dataclasses.replace(
        plan, tensors=[*plan.tensors, huge], calls=calls, arena_bytes=1 << 41
    )
    _compile(changed, _text(changed), tmp_path)


def test_model_without_inputs_calls_or_dimensions(plan, tmp_path):
    bare = dataclasses.replace(
        plan, calls=[], inputs=[], outputs=[PlanPort("scalar", 3, "float32", ())]
    )
    _compile(bare, _text(bare), tmp_path)


def test_every_dtype(plan, tmp_path):
    names = "float32 uint8 int8 uint16 int16 int32 int64 bool float16 float64 uint32 uint64"
    tensors = [
        PlanTensor(f"t_{name}", name, (2,), Storage.ARENA, 0, 16)
        for name in [*names.split(), "bfloat16"]
    ]
    outputs = [PlanPort(t.name, i, t.dtype, t.shape) for i, t in enumerate(tensors)]
    changed = dataclasses.replace(plan, tensors=tensors, calls=[], inputs=[], outputs=outputs)
    text = _text(changed)
    assert text.count("EC_DTYPE_BFLOAT16") == 2
    _compile(changed, text, tmp_path)


def test_facts_of_the_descriptor(plan):
    text = _text(plan)
    assert '.required_features = "avx2,fma"' in text
    assert ".weights_hash = 0xfedcba9876543210u" in text
    assert ".embedded_weights = 0," in text
    assert text.count('.schedule = "fallback"') == 1
    header = source.model_header(plan)
    assert "#define SMALL_INPUT_0_BYTES 60" in header
    assert "#define SMALL_OUTPUT_1_BYTES 36" in header


def test_what_the_runtime_cannot_hold(plan):
    def code(**fields):
        with pytest.raises(EdgecompError) as caught:
            _text(dataclasses.replace(plan, **fields))
        return caught.value.code

    deep = PlanPort("deep", 3, "float32", (1,) * 9)
    assert code(outputs=[deep]) is Code.OPERATOR_UNSUPPORTED
    many = PlanCall("k", (0,) * 12, 1, "Concat", "s", workspace_bytes=4)
    assert code(calls=[many]) is Code.OPERATOR_UNSUPPORTED
    assert code(calls=[PlanCall("k", (99,), 1, "Relu", "s")]) is Code.INTERNAL
    odd = PlanTensor("odd", "complex64", (1,), Storage.ARENA, 0, 8)
    assert code(tensors=[*plan.tensors, odd]) is Code.INTERNAL


def test_features_follow_the_target():
    assert source.required_features(ARMV7) == "neon"
    assert source.required_features(AVX2) == "avx2,fma"
