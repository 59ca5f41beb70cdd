"""Open a bundle: check it, read what is in it, run it in this process."""

import atexit
import contextlib
import functools
import json
import logging
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any, Self

from edgecomp import native
from edgecomp.bundle import manifest
from edgecomp.bundle.golden import GoldenVector, read_golden
from edgecomp.bundle.manifest import Manifest, Port
from edgecomp.device.read import host_isa
from edgecomp.errors import Code, EdgecompError
from edgecomp.file_hash import file_sha256
from edgecomp.held import scratch_folder
from edgecomp.plan.values import Array

logger = logging.getLogger(__name__)

#: Libraries this process has loaded: path -> SHA-256 of what was there then.
_loaded: dict[pathlib.Path, str] = {}
#: Folders with copies of libraries, which live as long as this process.
_copies = contextlib.ExitStack()
atexit.register(_copies.close)


class Bundle:
    """A bundle on disk. Also a context manager, which closes what ``run`` opened.

    Attributes:
        directory: absolute path.
        manifest: its checked manifest.
    """

    def __init__(self, directory: pathlib.Path, facts: Manifest) -> None:
        self.directory = directory
        self.manifest = facts
        self._sessions: dict[tuple[int, str], native.Session] = {}

    def __repr__(self) -> str:
        return f"Bundle({self.name!r}, target={self.manifest.target.name!r}, {self.directory})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def name(self) -> str:
        """C identifier of the model."""
        return self.manifest.name

    @property
    def inputs(self) -> tuple[Port, ...]:
        """What ``run`` takes."""
        return self.manifest.inputs

    @property
    def outputs(self) -> tuple[Port, ...]:
        """What ``run`` returns."""
        return self.manifest.outputs

    @property
    def model_path(self) -> pathlib.Path:
        """The portable ONNX model."""
        return self.directory / "model.onnx"

    @property
    def weights_path(self) -> pathlib.Path:
        """The weights file."""
        return self.directory / self.manifest.weights.file

    @property
    def library_path(self) -> pathlib.Path | None:
        """The shared library, None where none was built."""
        return self._built(self.manifest.build.shared)

    @property
    def runner_path(self) -> pathlib.Path | None:
        """The command-line runner, None where none was built."""
        return self._built(self.manifest.build.runner)

    @functools.cached_property
    def golden(self) -> list[GoldenVector]:
        """Golden inputs and outputs."""
        spreads = (
            self.report["facts"].get("rounding_spread") or [{}] * self.manifest.golden_vectors
        )
        return read_golden(self.directory, self.inputs, self.outputs, spreads)

    @functools.cached_property
    def report(self) -> dict[str, Any]:
        """Contents of report.json."""
        content: dict[str, Any] = json.loads(
            (self.directory / "report.json").read_text(encoding="utf-8")
        )
        return content

    def check(self) -> None:
        """Compare every file with its hash.

        Raises:
            EdgecompError: BUNDLE_CORRUPT with the first file that differs.
        """
        self.check_sizes()
        for path, facts in sorted(self.manifest.files.items()):
            if file_sha256(self.directory / path) != facts.sha256:
                raise _corrupt("its contents are not those that were built", path, self)

    def check_sizes(self) -> None:
        """Look whether every file is there with its length; reads no contents."""
        for path, facts in sorted(self.manifest.files.items()):
            try:
                found = (self.directory / path).stat().st_size
            except OSError as error:
                raise _corrupt(f"it cannot be read: {error.strerror}", path, self) from None
            if found != facts.bytes:
                raise _corrupt(f"it has {found} bytes instead of {facts.bytes}", path, self)

    def plan_for(self, choice: str) -> str:
        """A choice of ``--plan`` for this bundle: ``auto`` where it has one plan.

        Raises:
            EdgecompError: USAGE where ``cpu`` is asked of a bundle that was built without it.
        """
        if not self.manifest.devices:
            return "auto"
        if choice == "cpu" and not self.manifest.cpu_plan:
            raise EdgecompError(
                Code.USAGE,
                "the bundle has no CPU plan",
                path=str(self.directory),
                hint="build it without --no-cpu-plan",
            )
        return choice

    def run(
        self, inputs: Mapping[str, Array], *, threads: int = 1, plan: str = "auto"
    ) -> dict[str, Array]:
        """Run the model once in this process.

        Args:
            inputs: one array per input, by name, with the port's dtype and shape.
            threads: for kernels, this one included. Each count opens a session of its own.
            plan: ``auto``, ``device`` or ``cpu``; where ``auto`` takes the CPU plan because the
                device fails, a warning is logged.

        Returns:
            One new array per output, by name.

        Raises:
            EdgecompError: INPUT_MISMATCH; TOOLCHAIN_MISSING when the bundle has no library;
                DEVICE_FAILED when this machine cannot run it.
        """
        return self._session(threads, plan).run(inputs)

    def close(self) -> None:
        """Give back what ``run`` opened. The bundle can be used again."""
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()

    def _session(self, threads: int, plan: str = "auto") -> native.Session:
        known = self._sessions.get((threads, plan))
        if known is not None:
            return known
        self._require_this_machine()
        weights = None if self.manifest.weights.embedded else self.weights_path
        library = self._loadable_library()
        session = native.Session(library, weights=weights, threads=threads, plan=plan)
        if session.device_failure:
            logger.warning("the CPU plan runs: %s", session.device_failure)
        self._sessions[threads, plan] = session
        return session

    def _require_this_machine(self) -> None:
        target, here = self.manifest.target, host_isa()
        if target.isa != here:
            raise EdgecompError(
                Code.DEVICE_FAILED,
                f"the bundle is for {target.isa} ({target.name}), this process is {here}",
                path=str(self.directory),
                hint="--device qemu emulates its processor, --device ssh:user@host runs it there",
            )

    def _loadable_library(self) -> pathlib.Path:
        """The library, or a copy where this process has loaded an older file of that name.

        The system's loader knows a library by its path: after a bundle was built again in the
        same place it would give back the old code.
        """
        library = self._require_library()
        digest = self.manifest.files[self.manifest.build.shared].sha256
        if _loaded.setdefault(library, digest) == digest:
            return library
        copy = _copies.enter_context(scratch_folder()) / library.name
        shutil.copyfile(library, copy)
        return copy

    def _require_library(self) -> pathlib.Path:
        if self.library_path is None:
            raise EdgecompError(
                Code.TOOLCHAIN_MISSING,
                "the bundle has no library to run",
                path=str(self.directory),
                hint=self.manifest.build.note or "build it with a C compiler installed",
            )
        return self.library_path

    def _built(self, path: str) -> pathlib.Path | None:
        return self.directory / path if path else None

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()


def open_bundle(path: pathlib.Path | str) -> Bundle:
    """Open a bundle: reads its manifest and looks at the files' sizes, not their contents.

    Raises:
        EdgecompError: FILE_MISSING, BUNDLE_INVALID, BUNDLE_VERSION, or BUNDLE_CORRUPT when a
            file is missing or has another length.
    """
    directory = pathlib.Path(path).absolute()
    bundle = Bundle(directory, manifest.read_manifest(directory))
    bundle.check_sizes()
    return bundle


def _corrupt(why: str, path: str, bundle: Bundle) -> EdgecompError:
    return EdgecompError(
        Code.BUNDLE_CORRUPT,
        f"the bundle is damaged: {path}: {why}",
        path=str(bundle.directory / path),
        hint="copy the bundle again, or build it again",
    )
