"""The program: verbs, errors, exit statuses, start-up."""

import importlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from helpers import interruptible

from edgecomp import __version__
from edgecomp.cli.program import VERBS
from edgecomp.errors import Code, EdgecompError

ROOT = pathlib.Path(__file__).parents[2]
HEAVY = (
    "numpy", "onnx", "onnx_ir", "onnxruntime", "onnxscript", "torch", "tvm", "tvm_ffi", "PIL",
    "scipy", "rich", "yaml", "jinja2", "xxhash",
)  # fmt: skip


def start(*arguments, **settings):
    settings = {"env": {**os.environ, "PYTHONPATH": str(ROOT)}, **settings}
    command = [sys.executable, "-m", "edgecomp", *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **settings
    )


def finish(process):
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_help_is_quick_because_it_imports_nothing_heavy(figure):
    code = (
        "import sys\n"
        "from edgecomp.cli.program import program\n"
        "try: program.main(['--help'])\n"
        f"finally: print(sorted(set(sys.modules) & set({HEAVY!r})), file=sys.stderr)"
    )
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        times.append(time.perf_counter() - begin)
    figure("edgecomp --help", f"{min(times):.2f} s, the best of three", "under 0.3 s")
    assert done.stderr.strip() == "[]"
    assert all(verb in done.stdout for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_imports_nothing_heavy(verb):
    code = (
        "import sys\n"
        "from edgecomp.cli.program import program\n"
        f"try: program.main(['{verb}', '--help'])\n"
        f"finally: print(sorted(set(sys.modules) & set({HEAVY!r})), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.strip() == "[]"


def test_without_arguments_the_help_is_printed(run):
    result = run()
    assert result.status == 0
    assert result.out == run("--help").out


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_module_and_the_line_of_the_list(verb, run):
    command = importlib.import_module(f"edgecomp.cli.{verb}").command
    assert command.name == verb
    assert command.help.splitlines()[0] == VERBS[verb]
    assert run(verb, "-h").status == 0


def test_version(run):
    assert run("--version").out == f"edgecomp {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["biuld"], "no such verb 'biuld'", "'build'"),
        (["build", "--fource"], "no such option '--fource'", "--help"),
        (["--frobnicate"], "no such option '--frobnicate'", "edgecomp --help"),
        (["build"], "missing argument 'MODEL'", "edgecomp build --help"),
        (["build", "a", "b"], "unexpected extra argument", "--help"),
        (["build", "a", "-m", "b"], "MODEL is given twice", "--help"),
        (["build", "a", "--num-samples", "x"], "'x' is not a valid integer", "--help"),
        (["build", "a", "--mean", "1,b"], "'1,b' is not a list of numbers", "--help"),
        (["build", "a", "--precision", "w9"], "--precision: unknown 'w9'", "fp32"),
        (["build", "a", "--precision", "w8a8"], "needs --calibration-data", "images"),
        (["run"], "missing argument 'BUNDLE'", "--help"),
        (["targets", "nonesuch"], "no target is called 'nonesuch'", "edgecomp targets"),
    ],
)
def test_misuse_is_named_and_ends_with_2(run, arguments, message, hint):
    result = run(*arguments)
    assert result.status == 2
    assert result.out == ""
    assert result.err.startswith("error: EC01")
    assert message.lower() in result.err.lower()
    assert hint in result.err.partition("hint: ")[2]


def test_errors_go_to_stdout_too_with_json(run):
    result = run("targets", "nonesuch", "--json")
    assert result.json["error"]["code"] == "EC0105"
    assert result.json["error"]["exit_code"] == result.status == 2
    assert "EC0105" in result.err


@pytest.mark.parametrize("code", [c for c in Code if c is not Code.INTERRUPTED], ids=str)
def test_every_error_ends_with_its_status(run, api, code):
    def fail(*_):
        raise EdgecompError(code, "cause", node="n", source="m.py:3", path="p", hint="try")

    api.open = fail
    result = run("report", "bundle")
    assert result.status == int(code.exit_code)
    lines = [f"error: {code.text}: cause", "  node n", "  at m.py:3", "  file p", "hint: try"]
    assert result.err.splitlines() == lines


def test_an_unexpected_exception_is_internal(run, api):
    def fail(*_):
        raise KeyError("surprise")

    api.open = fail
    result = run("report", "bundle")
    assert result.status == 1
    assert "EC0001: KeyError: 'surprise'" in result.err
    assert "-v" in result.err
    assert "Traceback" not in result.err
    assert "Traceback" in run("report", "bundle", "-v").err


def test_an_interrupt_ends_with_130(run, api):
    def fail(*_):
        raise KeyboardInterrupt

    api.open = fail
    result = run("report", "bundle")
    assert result.status == 130
    assert "EC0002" in result.err


def test_underscores_are_dashes(run, api):
    seen = []
    api.open = lambda path: seen.append(path)
    api.benchmark = lambda _, options, progress: Rendered(options.num_runs)
    result = run("benchmark", "b", "--num_runs", 3, "--json")
    assert result.json == {"value": 3}
    assert seen == [pathlib.Path("b")]


class Rendered:
    """What the API returns for printing."""

    def __init__(self, value):
        self.value = value

    def require_conclusive(self):
        pass

    def as_dict(self):
        return {"value": self.value}

    def render(self, console):
        console.print(f"value {self.value}")


@pytest.mark.skipif(os.name != "posix", reason="pipes end otherwise elsewhere")
def test_a_closed_pipe_is_quiet():
    read, write = os.pipe()
    os.close(read)
    process = subprocess.Popen(
        [sys.executable, "-m", "edgecomp", "targets"],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    os.close(write)
    _, err = process.communicate(timeout=60)
    assert err == ""
    assert process.returncode == 141


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGINT, 130)]
)
def test_a_signal_unwinds(tmp_path, number, status):
    """Half-written folders are removed by ``finally`` blocks: the signal must run them."""
    script = tmp_path / "slow.py"
    script.write_text(
        "import sys, time, types, edgecomp\n"
        "from edgecomp.cli import main\n"
        "api = types.ModuleType('edgecomp.api')\n"
        "def slow(*_):\n"
        "    try:\n"
        "        print('started', flush=True); time.sleep(60)\n"
        "    finally:\n"
        "        print('cleaned', flush=True)\n"
        "api.open = slow\n"
        "sys.modules['edgecomp.api'] = edgecomp.api = api\n"
        "sys.argv = ['edgecomp', 'report', 'x']\n"
        "main()\n"
    )
    process = interruptible.popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout.readline() == "started\n"
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert out == "cleaned\n"
    assert process.returncode == status


def test_the_module_is_the_program():
    status, out, err = finish(start("targets", "--json"))
    assert (status, err) == (0, "")
    assert {t["name"] for t in json.loads(out)} >= {"raspberry-pi-4"}
