"""What a table of times has to say about the machine: its processor and what that can do."""

import os
import pathlib
import platform

from benchmarks.ceilings import ceilings_name, measured_ceilings

from edgecomp.device.load import load_target


def machine_facts():
    """Name -> text or number."""
    return {
        **processor_facts(),
        "load average": round(os.getloadavg()[0], 2),
        **measured_ceilings([1]).get(ceilings_name(1), {}),
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


def _processor():
    path = pathlib.Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    facts = dict(map(str.strip, line.split(":", 1)) for line in lines if ":" in line)
    name = facts.get("model name", platform.processor() or platform.machine())
    keys = [k for k in ("cpu family", "model", "stepping") if k in facts]
    return f"{name} ({', '.join(f'{k} {facts[k]}' for k in keys)})" if keys else name
