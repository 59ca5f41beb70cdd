"""What the machine can do at most: ``ceilings.c``, compiled for it and run."""

import json
import pathlib
import shutil
import subprocess
import tempfile

from edgecomp.device.load import load_target

_SOURCE = pathlib.Path(__file__).with_suffix(".c")


def measured_ceilings(threads):
    """``"1 thread"`` -> figure -> value, for each number of threads; {} without a C compiler."""
    compiler = next(filter(shutil.which, ("cc", "gcc", "clang")), None)
    if compiler is None:
        return {}
    core = load_target("host").core
    with tempfile.TemporaryDirectory() as folder:
        program = pathlib.Path(folder) / "ceilings"
        options = ["-O3", "-march=native", "-ffp-contract=fast", "-pthread"]
        width = f"-DVECTOR_BYTES={core.vector_bits // 8}"
        subprocess.run([compiler, *options, width, _SOURCE, "-o", program], check=True)
        caches = [str(core.l1_data_bytes), str(core.l2_bytes)]
        found = {}
        for count in threads:
            command = [str(program), str(count), *caches]
            text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            found[ceilings_name(count)] = json.loads(text)
    return found


def ceilings_name(threads):
    """The key of so many threads."""
    return f"{threads} thread{'s' if threads > 1 else ''}"
