"""onnxruntime: reads the bundle's portable model, float or QDQ, as it is."""

from typing import Any

from edgecomp.bench.peers.contract import Converted, Loaded
from edgecomp.bench.peers.task import Array, Task
from edgecomp.onnxruntime_library import load_onnxruntime


def convert(task: Task) -> Converted:
    """Nothing to convert."""
    return Converted(str(task.model), "the bundle's QDQ file" if task.int8 else "ONNX")


def load(task: Task) -> Loaded:
    """A session with its inputs and outputs bound."""
    onnxruntime = load_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = task.threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # Another program has its turn after this one: threads that still spin would slow it.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = 3
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(task.file, options, providers=providers)
    binding = session.io_binding()
    for name, array in zip(task.inputs, task.feeds(), strict=True):
        binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(array))
    for output in session.get_outputs():
        binding.bind_output(output.name, "cpu")

    def fetch() -> list[Array]:
        values: list[Any] = binding.get_outputs()
        return [value.numpy() for value in values]

    return Loaded(onnxruntime.__version__, lambda: session.run_with_iobinding(binding), fetch)
