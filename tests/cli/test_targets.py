"""edgecomp targets."""

from edgecomp.device.load import list_targets


def test_the_list_has_every_target_and_the_host(run):
    names = [target["name"] for target in run("targets", "--json").json]
    assert names[0] == "host"
    assert names[1:] == [target.name for target in list_targets()]
    text = run("targets").out
    assert all(name in text for name in names)


def test_one_target_with_its_sources(run):
    facts = run("targets", "cortex-a76", "--json").json
    assert facts["name"] == "raspberry-pi-5"
    assert facts["core"]["features"] == ["dotprod", "fp16", "neon"]
    text = run("targets", "rpi5").out
    assert "512 KiB" in text
    assert "Processors, BCM2712" in text


def test_a_target_of_ones_own(run, tmp_path):
    from edgecomp.resources import resource_folder

    path = tmp_path / "board.toml"
    text = (resource_folder("targets") / "raspberry-pi-3.toml").read_text()
    path.write_text(text.replace('name = "raspberry-pi-3"', 'name = "my-board"'))
    assert run("targets", path, "--json").json["name"] == "my-board"
    path.write_text(text.replace("l1_data_bytes", "l1_data_byte"))
    result = run("targets", path)
    assert result.status == 2
    assert "EC0106" in result.err
    assert str(path) in result.err
