"""What a table of times has to say about the machine: its processor and what that can do."""

import os
import pathlib
import platform
import shutil
import subprocess
import tempfile

from edgecomp.device.load import load_target

_PEAK = pathlib.Path(__file__).with_name("peak.c")


def machine_facts():
    """Name -> text or number."""
    core = load_target("host").core
    return {
        **processor_facts(),
        "load average": round(os.getloadavg()[0], 2),
        "float32 G multiply-adds/s, one thread": measured_peak(core.vector_bits),
    }


def processor_facts():
    """The same without what has to be measured."""
    core = load_target("host").core
    return {
        "processor": _processor(),
        "processors": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "vector bits": core.vector_bits,
        "features": " ".join(sorted(core.features)),
        "l1 data KiB": core.l1_data_bytes // 1024,
        "l2 KiB": core.l2_bytes // 1024,
    }


def measured_peak(vector_bits):
    """Best of several loops of fused multiply-adds on registers; None without a C compiler."""
    compiler = next(filter(shutil.which, ("cc", "gcc", "clang")), None)
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        program = pathlib.Path(folder) / "peak"
        options = ["-O3", "-march=native", "-ffp-contract=fast"]
        width = f"-DVECTOR_BYTES={vector_bits // 8}"
        subprocess.run([compiler, *options, width, _PEAK, "-o", program], check=True)
        text = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    return round(float(text), 1)


def _processor():
    path = pathlib.Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    facts = dict(map(str.strip, line.split(":", 1)) for line in lines if ":" in line)
    name = facts.get("model name", platform.processor() or platform.machine())
    keys = [k for k in ("cpu family", "model", "stepping") if k in facts]
    return f"{name} ({', '.join(f'{k} {facts[k]}' for k in keys)})" if keys else name
