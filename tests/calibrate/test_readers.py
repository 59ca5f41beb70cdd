"""Every kind of calibration source, and every way it can be wrong."""

import logging
import tracemalloc
import types

import numpy as np
import PIL.Image
import pytest
from helpers.graphs import Graph, normal

from edgecomp.calibrate.readers import open_calibration
from edgecomp.calibrate.select import spread
from edgecomp.errors import Code, EdgecompError
from edgecomp.frontend.input_spec import InputSpec

IMAGE = [InputSpec("x", (1, 3, 8, 8))]
TWO = [InputSpec("ids", (1, 5), "int64"), InputSpec("mask", (1, 5), "float32")]


def feeds_of(source, inputs=IMAGE, **options):
    return list(open_calibration(source, inputs, **options))


def code_of(source, inputs=IMAGE, **options):
    with pytest.raises(EdgecompError) as caught:
        feeds_of(source, inputs, **options)
    return caught.value


def rows(rng, count, *shape):
    return normal(rng, count, *shape)


@pytest.fixture
def pictures(tmp_path, rng):
    folder = tmp_path / "pictures"
    for index in range(7):
        place = folder / f"class{index % 2}"
        place.mkdir(parents=True, exist_ok=True)
        pixels = np.full((8, 8, 3), index * 30, np.uint8)
        PIL.Image.fromarray(pixels).save(place / f"{index}.png")
    (folder / "notes.txt").write_text("not a picture")
    return folder


# Kinds


def test_a_folder_of_images(pictures):
    found = feeds_of(pictures, mean=[0.5], std=[0.25, 0.25, 0.25])
    assert len(found) == 7
    assert all(f["x"].shape == (1, 3, 8, 8) and f["x"].dtype == np.float32 for f in found)
    # In the order of the paths: class0 has the even ones.
    levels = [round(float((f["x"][0, 0, 0, 0] * 0.25 + 0.5) * 255)) for f in found]
    assert levels == [0, 60, 120, 180, 30, 90, 150]


def test_images_are_spread_evenly_when_there_are_more_than_asked(pictures):
    found = feeds_of(pictures, num_samples=3)
    assert [round(float(f["x"][0, 0, 0, 0]) * 255) for f in found] == [0, 120, 30]


def test_images_for_other_layouts(pictures):
    last = feeds_of(pictures, [InputSpec("x", (1, 8, 8, 3))])
    assert last[0]["x"].shape == (1, 8, 8, 3)
    raw = feeds_of(pictures, [InputSpec("x", (1, 3, 8, 8), "uint8")])
    assert raw[1]["x"].dtype == np.uint8
    assert raw[1]["x"].max() == 60
    batch = feeds_of(pictures, [InputSpec("x", (3, 3, 8, 8))])
    assert [f["x"].shape for f in batch] == [(3, 3, 8, 8)] * 2


def test_transform_replaces_the_normalization_of_images(pictures):
    found = feeds_of(
        pictures, transform=lambda p: np.asarray(p, np.float32).transpose(2, 0, 1) - 1
    )
    assert found[1]["x"][0, 0, 0, 0] == 59


def test_npy_rows(tmp_path, rng):
    array = rows(rng, 10, 3, 8, 8)
    np.save(tmp_path / "a.npy", array)
    found = feeds_of(tmp_path / "a.npy", num_samples=5)
    np.testing.assert_array_equal(np.concatenate([f["x"] for f in found]), array[::2])
    one = feeds_of(array[0])
    np.testing.assert_array_equal(one[0]["x"], array[:1])


def test_npy_of_doubles_becomes_float32(tmp_path, rng):
    np.save(tmp_path / "a.npy", rng.standard_normal((2, 3, 8, 8)))
    assert feeds_of(str(tmp_path / "a.npy"))[0]["x"].dtype == np.float32


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_has_an_array_per_input(tmp_path, rng, save):
    ids, mask = rng.integers(0, 9, (11, 5)), rows(rng, 11, 5)
    save(tmp_path / "a.npz", ids=ids, mask=mask)
    found = feeds_of(tmp_path / "a.npz", TWO, num_samples=4)
    chosen = spread(11, 4)
    np.testing.assert_array_equal(np.concatenate([f["ids"] for f in found]), ids[chosen])
    np.testing.assert_array_equal(np.concatenate([f["mask"] for f in found]), mask[chosen])


def test_npz_in_fortran_order_and_of_any_name(tmp_path, rng):
    array = np.asfortranarray(rows(rng, 6, 3, 8, 8))
    np.savez(tmp_path / "a.npz", array)
    found = feeds_of(tmp_path / "a.npz")
    np.testing.assert_array_equal(np.concatenate([f["x"] for f in found]), array)


def test_a_folder_of_arrays(tmp_path, rng):
    for index in range(3):
        np.savez(tmp_path / f"{index}.npz", ids=np.full((1, 5), index), mask=rows(rng, 1, 5))
    assert [f["ids"][0, 0] for f in feeds_of(tmp_path, TWO)] == [0, 1, 2]
    for file in tmp_path.iterdir():
        file.unlink()
    np.save(tmp_path / "a.npy", rows(rng, 3, 8, 8))
    np.save(tmp_path / "b.npy", rows(rng, 4, 3, 8, 8))
    assert len(feeds_of(tmp_path)) == 5


def test_a_script_is_called_anew_for_each_reading(tmp_path):
    (tmp_path / "sizes.py").write_text("COUNT = 3\n")
    script = tmp_path / "calibration.py"
    script.write_text(
        "import numpy as np\nimport sizes\n\n"
        "def get_calibration_data():\n"
        "    for i in range(sizes.COUNT):\n"
        "        yield {'x': np.full((1, 3, 8, 8), i, np.float32)}\n"
    )
    calibration = open_calibration(script, IMAGE)
    assert [len(list(calibration)) for _ in range(2)] == [3, 3]


def test_iterables_of_mappings_arrays_and_tuples(rng):
    array = rows(rng, 1, 3, 8, 8)
    for items in ([{"x": array}] * 2, [array] * 2, ({"x": array[0]} for _ in range(2))):
        assert [f["x"].shape for f in feeds_of(items)] == [(1, 3, 8, 8)] * 2
    pair = (np.zeros((1, 5), np.int64), np.zeros((1, 5), np.float32))
    assert feeds_of([pair], TWO)[0].keys() == {"ids", "mask"}


def test_batches_are_regrouped(rng):
    array = rows(rng, 10, 3, 8, 8)
    found = feeds_of([array[:4], array[4:]], [InputSpec("x", (3, 3, 8, 8))])
    np.testing.assert_array_equal(np.concatenate([f["x"] for f in found]), array[:9])


def test_a_torch_data_loader(rng):
    torch = pytest.importorskip("torch", reason="torch is optional")
    data = torch.utils.data.TensorDataset(torch.randn(6, 3, 8, 8), torch.arange(6))
    loader = torch.utils.data.DataLoader(data, batch_size=4)
    calibration = open_calibration(loader, IMAGE, transform=lambda item: item[0])
    assert [len(list(calibration)) for _ in range(2)] == [6, 6]
    assert "transform=lambda item: item[0]" in code_of(loader).hint


class OnnxruntimeReader:
    def __init__(self, count):
        self.count = count
        self.rewind()

    def get_next(self):
        return next(self.items, None)

    def rewind(self):
        self.items = iter([{"x": np.zeros((1, 3, 8, 8), np.float32)}] * self.count)


def test_readers_of_other_tools():
    calibration = open_calibration(OnnxruntimeReader(4), IMAGE)
    assert [len(list(calibration)) for _ in range(2)] == [4, 4]
    zero = np.zeros((1, 3, 8, 8), np.float32)
    nncf = types.SimpleNamespace(get_inference_data=lambda: iter([zero] * 5))
    assert len(feeds_of(nncf)) == 5
    assert len(feeds_of({"serving_default": [{"x": zero}] * 6})) == 6
    assert len(feeds_of(lambda: iter([zero] * 7))) == 7


def test_graph_inputs_and_arrays_by_name(rng):
    graph = Graph()
    model = graph.model(graph("Relu", graph.input("x", (1, 4))))
    found = feeds_of({"x": rows(rng, 5, 4)}, model.graph.inputs)
    assert [f["x"].shape for f in found] == [(1, 4)] * 5


def test_an_input_without_a_batch(rng):
    found = feeds_of(rows(rng, 5, 10), [InputSpec("x", (10,))])
    assert [f["x"].shape for f in found] == [(10,)] * 5


# Bounds


def test_no_more_than_asked_and_a_word_about_less(caplog):
    zero = np.zeros((1, 3, 8, 8), np.float32)
    assert len(feeds_of([zero] * 9, num_samples=4)) == 4
    calibration = open_calibration([zero] * 9, IMAGE, num_samples=20)
    with caplog.at_level(logging.WARNING):
        list(calibration)
        list(calibration)
    assert [r.message for r in caplog.records] == [
        "20 calibration samples were asked for, 9 found"
    ]
    assert calibration.used == 9


def test_memory_does_not_grow_with_the_number_of_samples(tmp_path):
    inputs = [InputSpec("x", (1, 64, 1024))]
    sample_bytes = 64 * 1024 * 4
    whole = np.zeros((200, 64, 1024), np.float32)
    np.save(tmp_path / "a.npy", whole)
    np.savez(tmp_path / "a.npz", x=whole)
    np.savez_compressed(tmp_path / "b.npz", x=whole)
    del whole
    generator = (np.ones((1, 64, 1024), np.float32) for _ in range(200))
    for source in (tmp_path / "a.npy", tmp_path / "a.npz", tmp_path / "b.npz", generator):
        calibration = open_calibration(source, inputs)
        tracemalloc.start()
        count = sum(1 for _ in calibration)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert count == 200
        assert peak < 12 * sample_bytes, source  # four of them in calibration.first


def test_spread():
    assert spread(10, 3) == [0, 3, 6]
    assert spread(3, 10) == [0, 1, 2]
    assert spread(0, 5) == []


# Refusals


def test_nothing_there(tmp_path):
    assert code_of(tmp_path / "missing").code is Code.FILE_MISSING
    assert code_of(tmp_path).code is Code.CALIBRATION_EMPTY
    assert code_of([]).code is Code.CALIBRATION_EMPTY
    assert code_of(np.zeros((0, 3, 8, 8), np.float32)).code is Code.CALIBRATION_EMPTY


@pytest.mark.parametrize(
    ("item", "text"),
    [
        ({"y": 0}, "sample 1 names an input 'y'"),
        ({}, "sample 1 lacks input 'x'"),
        (np.zeros((1, 3, 8, 9), np.float32), r"input 'x' has shape \[1, 3, 8, 9\]"),
        (np.zeros((2, 8), np.float32), "has shape"),
        (np.zeros((1, 3, 8, 8), np.uint8), "input 'x' is uint8, the model takes float32"),
        (np.full((1, 3, 8, 8), np.nan, np.float32), "sample 1 input 'x' contains NaN"),
        (np.full((1, 3, 8, 8), np.inf, np.float32), "contains infinity"),
        (np.full((1, 3, 8, 8), 1e300), "contains infinity"),
        ((np.zeros((1, 3, 8, 8)), 3), "has 2 parts, the model 1 inputs"),
    ],
)
def test_a_bad_sample_is_named(item, text):
    good = {"x": np.zeros((1, 3, 8, 8), np.float32)}
    with pytest.raises(EdgecompError, match=text) as caught:
        feeds_of([good, item])
    assert caught.value.code is Code.CALIBRATION_INVALID


def test_integers_that_do_not_fit():
    inputs = [InputSpec("ids", (1, 2), "int32")]
    assert feeds_of([np.array([[1, 2]])], inputs)[0]["ids"].dtype == np.int32
    assert "do not fit" in code_of([np.array([[1, 2**40]])], inputs).cause


def test_inputs_of_different_batch():
    items = [{"ids": np.zeros((3, 5), np.int64), "mask": np.zeros((2, 5), np.float32)}]
    assert "different batch" in code_of(items, TWO).cause


def test_fewer_rows_than_the_models_batch(rng):
    error = code_of(rows(rng, 3, 3, 8, 8), [InputSpec("x", (4, 3, 8, 8))])
    assert error.code is Code.CALIBRATION_INVALID
    assert "the model's batch is 4" in error.cause


def test_files_that_are_not_what_they_seem(tmp_path, pictures):
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY but no more")
    (tmp_path / "a.npz").write_bytes(b"PK no archive")
    (tmp_path / "a.csv").write_text("1,2")
    np.save(tmp_path / "object.npy", np.array([{}], object), allow_pickle=True)
    np.savez(tmp_path / "object.npz", x=np.array([{}], object))
    for name in ("a.npy", "a.npz", "a.csv", "object.npy", "object.npz"):
        error = code_of(tmp_path / name)
        assert error.code is Code.CALIBRATION_INVALID
        assert name in error.path
    (pictures / "broken.png").write_bytes(b"no picture")
    error = code_of(pictures)
    assert error.code is Code.CALIBRATION_INVALID
    assert error.path.endswith("broken.png")


def test_a_truncated_npz(tmp_path, rng):
    np.savez_compressed(tmp_path / "a.npz", x=rows(rng, 20, 3, 8, 8))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "a.npz").write_bytes(bytes(content))
    assert code_of(tmp_path / "a.npz").code is Code.CALIBRATION_INVALID


def test_npz_of_other_names(tmp_path, rng):
    np.savez(tmp_path / "a.npz", ids=np.zeros((2, 5), np.int64), maks=rows(rng, 2, 5))
    error = code_of(tmp_path / "a.npz", TWO)
    assert "no array for input 'mask'" in error.cause
    assert error.hint == "did you mean 'maks'?"
    np.savez(tmp_path / "b.npz", ids=np.zeros((2, 5), np.int64), mask=rows(rng, 3, 5))
    assert "different numbers of rows" in code_of(tmp_path / "b.npz", TWO).cause


def test_images_and_arrays_in_one_folder(pictures):
    np.save(pictures / "a.npy", np.zeros(3))
    assert "7 images and 1 arrays" in code_of(pictures).cause


def test_images_for_a_model_that_takes_none(pictures):
    assert "is not an image" in code_of(pictures, [InputSpec("x", (1, 10))]).cause
    assert "2 inputs" in code_of(pictures, TWO).cause


def test_normalization_of_what_is_no_image(rng):
    assert code_of(rows(rng, 2, 3, 8, 8), mean=[0.5]).code is Code.USAGE


def test_scripts_that_fail(tmp_path):
    script = tmp_path / "calibration.py"
    script.write_text("x = 1\n1 / 0\n")
    error = code_of(script)
    assert "ZeroDivisionError" in error.cause
    assert error.source == "calibration.py:2"
    script.write_text("def get_data():\n    return []\n")
    assert "no function get_calibration_data()" in code_of(script).cause
    script.write_text("def get_calibration_data():\n    yield 1 / 0\n")
    error = code_of(script)
    assert error.code is Code.CALIBRATION_INVALID
    assert error.source == "calibration.py:2"


def test_an_iterator_is_read_once():
    calibration = open_calibration(iter([np.zeros((1, 3, 8, 8), np.float32)]), IMAGE)
    assert len(list(calibration)) == 1
    assert len(calibration.first) == 1
    with pytest.raises(EdgecompError, match="only once"):
        list(calibration)


def test_sources_of_no_kind():
    assert "int is no source" in code_of(3).cause
    assert "one signature" in code_of({"a": [], "b": []}).cause
    assert code_of([], num_samples=0).code is Code.USAGE
