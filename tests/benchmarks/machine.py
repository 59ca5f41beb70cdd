"""What a table of times has to say about the machine."""

import os
import platform

from edgecomp.bench.local import local_device
from edgecomp.device.load import load_target


def processor_facts():
    """Name -> text or number."""
    core = load_target("host").core
    return {
        "processor": local_device().describe(),
        "processors": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "vector bits": core.vector_bits,
        "features": " ".join(sorted(core.features)),
        "l1 data KiB": core.l1_data_bytes // 1024,
        "l2 KiB": core.l2_bytes // 1024,
    }
