"""Memory of a build beside the size of the model's weights; a model of 200 MB stands for larger."""

import pathlib

import pytest
from benchmarks.large_model import measure

#: Of the weights, above what the build of a tiny model takes.
MOST = 1.5


def test_a_build_holds_its_weights_about_once(tmp_path, figure):
    if not pathlib.Path("/proc/self/smaps_rollup").exists():
        pytest.skip("needs /proc/PID/smaps_rollup")
    facts = measure(tmp_path, "mlp", 200, width=2048)
    large = facts["large"]
    figure(
        f"build of a float model of {large['weights'] / 1e6:.0f} MB, largest memory",
        f"{large['peak'] / 1e6:.0f} MB, {large['ratio_above_base']:.2f} of the weights above "
        f"the {facts['base']['peak'] / 1e6:.0f} MB of a tiny model",
        f"at most {MOST}",
    )
    assert large["ratio_above_base"] <= MOST
