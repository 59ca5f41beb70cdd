"""Keep what calibration saw of samples, for the next build and for one that was stopped.

An observation lies at ``KEY/COUNT-CHAIN-FIRST``: what was observed (the model, its values, the
code that observes), how many samples, the digest of all of them in their order and that of the
first. Names alone tell whether a set of samples begins with those of an observation.
"""

import dataclasses
import functools
import hashlib
import importlib.metadata
import logging
import pathlib
import time
from collections.abc import Collection, Iterable, Mapping

import onnx_ir as ir

from edgecomp.cache import keep, kept, trim
from edgecomp.calibrate.identity import Sample, chained, digests_of
from edgecomp.calibrate.observation import Kind, Observation
from edgecomp.file_hash import file_sha256
from edgecomp.graph import run

logger = logging.getLogger(__name__)

#: All observations together; those that were not used for longest go first.
MOST_BYTES = 512 << 20
#: Packages that decide what a sample's values are.
_PACKAGES = ("numpy", "onnx", "onnx-ir", "onnxruntime", "pillow")
#: Files of this package that only look at what was observed.
_AFTERWARDS = {"lint.py", "qspaces.py", "ranges.py", "settle.py"}


@dataclasses.dataclass
class Store:
    """Where observations are kept.

    Attributes:
        folder: for all models.
        interval_samples: an unfinished observation is kept each time so many were added,
        interval_s: but not more often than this;
        least_s: and a finished one where it took at least so long.
    """

    folder: pathlib.Path
    interval_samples: int = 16
    interval_s: float = 10.0
    least_s: float = 1.0

    def open(
        self, model: ir.Model, kinds: Mapping[str, Kind], inputs: Collection[str]
    ) -> "ModelStore":
        """The part for a model and what is observed of it."""
        return ModelStore(self, self.folder / _key(model, kinds), kinds, inputs)


class ModelStore:
    """Observations of one model."""

    def __init__(
        self,
        store: Store,
        folder: pathlib.Path,
        kinds: Mapping[str, Kind],
        inputs: Collection[str],
    ) -> None:
        self._store, self._folder = store, folder
        self._kinds, self._inputs = kinds, inputs
        self._last: pathlib.Path | None = None
        self._begun = self._kept_at = time.monotonic()

    def find(self, samples: Iterable[Sample]) -> tuple[Observation, bool] | None:
        """The longest observation of a beginning of the samples, and whether it is of all.

        Reads the samples only where one begins as they do, and no further than it goes.
        """
        candidates = self._candidates()
        if not candidates:
            return None
        chain = b""
        found: tuple[int, pathlib.Path] | None = None
        count = 0
        for digest in digests_of(samples):
            count += 1
            chain = chained(chain, digest)
            if count == 1:
                first = digest.hex()
                candidates = {key: path for key, path in candidates.items() if key[2] == first}
            path = candidates.get((count, chain.hex(), first))
            if path is not None:
                found = count, path
            if count > max((key[0] for key in candidates), default=0):
                break
        if found is None:
            return None
        observation = self._read(found[1])
        return None if observation is None else (observation, count == found[0])

    def checkpoint(self, observation: Observation) -> None:
        """Keep an observation that goes on, now and then."""
        now = time.monotonic()
        due = now - self._kept_at >= self._store.interval_s
        if due and observation.samples % self._store.interval_samples == 0:
            self._keep(observation)
            self._kept_at = time.monotonic()

    def finish(self, observation: Observation) -> None:
        """Keep an observation of all samples; one of a part is not needed any more."""
        if self._last is None and time.monotonic() - self._begun < self._store.least_s:
            return
        self._keep(observation)
        trim(self._store.folder, MOST_BYTES)

    def _keep(self, observation: Observation) -> None:
        parts = (observation.samples, observation.chain.hex(), observation.first.hex())
        path = self._folder / "-".join(map(str, parts))
        keep(path, observation.pack())
        if self._last is not None and self._last != path:
            self._last.unlink(missing_ok=True)
        self._last = path

    def _candidates(self) -> dict[tuple[int, str, str], pathlib.Path]:
        try:
            paths = list(self._folder.iterdir())
        except OSError:
            return {}
        found = {}
        for path in paths:
            count, _, rest = path.name.partition("-")
            if count.isdecimal():
                chain, _, first = rest.partition("-")
                found[int(count), chain, first] = path
        return found

    def _read(self, path: pathlib.Path) -> Observation | None:
        content = kept(path)
        problem: object = "its digest is another"
        if content is not None:
            try:
                observation = Observation.unpack(content, self._kinds, self._inputs)
                path.touch()
            except (ValueError, KeyError, OSError) as error:
                problem = error
            else:
                return observation
        logger.debug("%s is not used: %s", path, problem)
        return None


def _key(model: ir.Model, kinds: Mapping[str, Kind]) -> str:
    """Of everything but the samples that decides what is observed."""
    digest = hashlib.sha256()
    light, arrays = run.without_weights(model)
    digest.update(ir.serde.serialize_model(light).SerializeToString(deterministic=True))
    for name, array in arrays.items():
        digest.update(f"\0{name}\0".encode())
        digest.update(array.reshape(-1).view("uint8").data)
    digest.update(repr((list(kinds.items()), _sources())).encode())
    return digest.hexdigest()[:32]


@functools.cache
def _sources() -> str:
    """Of the code that reads samples, runs the model and observes, and of what it uses."""
    here = pathlib.Path(__file__).parent
    images = here.parent / "images.py"
    digest = hashlib.sha256()
    own = [path for path in sorted(here.glob("*.py")) if path.name not in _AFTERWARDS]
    for path in [*own, images, pathlib.Path(run.__file__)]:
        digest.update(f"{path.name}\0{file_sha256(path)}\0".encode())
    for package in _PACKAGES:
        digest.update(f"{package} {importlib.metadata.version(package)}\0".encode())
    return digest.hexdigest()
