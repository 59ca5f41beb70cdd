"""C compilers: for each target one is looked for and a library is really linked with it."""

import ctypes

from edgecomp.bundle.toolchain import Compiler, find_compiler
from edgecomp.device.load import HOST, list_targets, load_target
from edgecomp.device.target import Target
from edgecomp.doctor.finding import Finding, State
from edgecomp.errors import EdgecompError
from edgecomp.held import scratch_folder

#: Needs the C library's headers, libm and threads, as the runtime does. The name is one of those
#: that a bundle's library exports.
_PROBE = """\
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
__attribute__((visibility("default"))) int32_t ec_model_probe(int32_t x) {
  pthread_t self = pthread_self();
  (void)self;
  return (int32_t)lrint(sqrt((double)x));
}
"""
_ARGUMENT, _ANSWER = 144, 12


def look() -> list[Finding]:
    """The host first, then each target file."""
    try:
        targets = [load_target(HOST), *list_targets()]
    except EdgecompError:
        targets = list_targets()
    return [_find(target) for target in targets]


def _find(target: Target) -> Finding:
    compiler = find_compiler(target)
    if compiler is None:
        return _finding(target, State.MISSING, f"none of {_names(target)}")
    try:
        _probe(compiler, load=target.name == HOST)
    except (EdgecompError, OSError, AttributeError) as error:
        cause = error.cause if isinstance(error, EdgecompError) else str(error)
        return _finding(target, State.WRONG, " ".join(cause.split()))
    return _finding(target, State.OK, f"{' '.join(compiler.command)}: {compiler.identity}")


def _probe(compiler: Compiler, *, load: bool) -> None:
    """Compile and link a small library; load it where this machine can."""
    with scratch_folder() as folder:
        (folder / "probe.c").write_text(_PROBE)
        compiler.compile("probe.c", "probe.o", (), folder)
        compiler.link_shared(["probe.o"], "probe.so", folder)
        if load:
            answer = ctypes.CDLL(str(folder / "probe.so")).ec_model_probe(_ARGUMENT)
            if answer != _ANSWER:
                raise OSError(f"the compiled program answers {answer} instead of {_ANSWER}")


def _finding(target: Target, state: State, found: str) -> Finding:
    zig = "pip install ziglang" if target.toolchain.zig_target else ""
    ways = " or ".join(filter(None, (target.toolchain.install, zig)))
    return Finding(
        name=target.name,
        state=state,
        found=found,
        purpose=f"libraries for {target.name}",
        hint="" if state is State.OK else ways,
        fatal=target.name == HOST,
    )


def _names(target: Target) -> str:
    zig = ("ziglang",) if target.toolchain.zig_target else ()
    return ", ".join((*target.toolchain.compilers, *zig)) or "nothing named"
