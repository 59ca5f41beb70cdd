"""The hash of a file."""

import hashlib

from edgecomp.file_hash import file_sha256


def test_it_is_that_of_the_contents(tmp_path):
    for size in (0, 1, 1 << 20, (1 << 20) + 1):
        content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        (tmp_path / "file").write_bytes(content)
        assert file_sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()
