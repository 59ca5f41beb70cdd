"""onnxruntime is used without its telemetry."""

import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]


def test_nothing_is_written_for_telemetry(tmp_path):
    code = "from edgecomp.onnxruntime_library import load_onnxruntime; load_onnxruntime()"
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        check=True,
    )
    assert list(tmp_path.iterdir()) == []


def test_no_other_module_imports_it():
    imports = re.compile(r"^\s*(import|from) onnxruntime\b", re.MULTILINE)
    found = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "edgecomp").rglob("*.py")
        if imports.search(path.read_text(encoding="utf-8"))
    ]
    assert found == []
