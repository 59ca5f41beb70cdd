"""What each error code means and what to do about it: the text of docs/errors.md.

``tests/test_explanations.py`` sees to it that every code has one.
"""

from edgecomp.errors import Code

EXPLANATIONS: dict[Code, str] = {
    Code.INTERNAL: "A defect of edgecomp. Run again with -v and report the traceback.",
    Code.INTERRUPTED: "Stopped by Ctrl-C. Nothing half-written is left.",
    Code.OUT_OF_MEMORY: "This machine has not enough memory for the model. Close other programs, or "
    "build on a larger machine: bundles are built for other machines too.",
    Code.USAGE: "The command line, a configuration file or an argument of the Python API is "
    "wrong. The message names the option.",
    Code.FILE_MISSING: "A file that was named does not exist.",
    Code.MODEL_UNREADABLE: "The file is not a model: text, truncated, or of another format.",
    Code.MODEL_INVALID: "The file is an ONNX model that breaks the rules of ONNX: a cycle, a "
    "value without producer, a missing initializer. Export it again.",
    Code.EXTERNAL_DATA: "The model keeps weights in other files, and one is missing, too short, "
    "or lies outside the model's folder. Keep the files together.",
    Code.TARGET_UNKNOWN: "No target has this name. 'edgecomp targets' lists them.",
    Code.TARGET_INVALID: "A target file has an unknown key or a wrong value. The message names "
    "the file and the key; docs/targets.md lists the keys.",
    Code.DIMENSION_FREE: "A dimension of an input has no fixed size. Set it with --input "
    "NAME:1x3x224x224.",
    Code.OUTPUT_EXISTS: "The output is there already. Give another -o, or --force to replace it.",
    Code.OUTPUT_UNWRITABLE: "The output cannot be written: permissions, a full disk, a "
    "name that is too long, or a file where a folder should be.",
    Code.INPUT_MISMATCH: "The contents given for an input have another name, shape or dtype than "
    "the model's input.",
    Code.ENTRY_INVALID: "FILE.py:FUNCTION or PACKAGE.MODULE:FUNCTION cannot be imported, fails, "
    "or does not return (module, example inputs).",
    Code.PACKAGE_MISSING: "An optional Python package is needed. The hint has the pip command.",
    Code.SHAPE_CONFLICT: "Shapes do not fit together: the one given with --input and the model's, "
    "or two inside the model.",
    Code.RECIPE_INVALID: "A recipe cannot be read, has an unknown key, pass or argument, or "
    "a target that matches no node. The line is given where the file has lines; docs/recipes.md has "
    "the form.",
    Code.COST_TABLE_INVALID: "A table of measured kernels cannot be read, is damaged, or was measured "
    "for another device. 'edgecomp tune' makes one; docs/tuning.md says what it holds.",
    Code.METRIC_INVALID: "The function of --metric cannot be loaded, raises, or returns no finite "
    "number; its traceback is shown. docs/budgets.md says what it is given.",
    Code.OPERATOR_UNSUPPORTED: "Operators that nothing here can compile; all of them are listed. "
    "Rewrite the model without them.",
    Code.OPSET_UNSUPPORTED: "The model's operator set or IR version is too old or too new. "
    "Export it with a version between the ones named.",
    Code.FALLBACK_REFUSED: "An operator has no schedule of its own and "
    "--require-full-target was given. Leave the flag out to accept slow operators.",
    Code.TENSOR_TOO_LARGE: "A tensor is larger than the kernels can address. Give smaller inputs.",
    Code.ACCURACY_GATE: "No settings and precisions of layers that were tried lose as little as "
    "--max-drop allows; the best of them is named (docs/budgets.md).",
    Code.LATENCY_GATE: "No precisions of layers are as fast as --max-ms asks; the least time is "
    "named (docs/budgets.md).",
    Code.POLICY_GATE: "A limit on size, memory or packaging is broken: no precisions of layers need "
    "as few bytes as --max-bytes asks; the fewest are named (docs/budgets.md).",
    Code.NUMERIC_MISMATCH: "Results differ from the expected ones by more than docs/numerics.md "
    "allows.",
    Code.TRACE_MISMATCH: "The traced model computes something else than torch does. Code that "
    "depends on values, or training mode, are the usual reasons.",
    Code.PASS_MISMATCH: "A pass changed the model's numbers (--verify-passes). Report the model.",
    Code.DEVICE_UNREACHABLE: "The device does not answer: no emulator, no ssh connection.",
    Code.DEVICE_FAILED: "The program on the device failed. Its last words are in the message.",
    Code.TOOLCHAIN_MISSING: "There is no C compiler for the target. 'edgecomp doctor' says how to get "
    "one.",
    Code.TOOLCHAIN_FAILED: "The C compiler or linker failed. Its output is in the message.",
    Code.BUNDLE_VERSION: "The bundle was made by a version of edgecomp that this one does not "
    "read. Build it again.",
    Code.BUNDLE_CORRUPT: "A file of the bundle is missing or was changed. Copy or build it again.",
    Code.BUNDLE_INVALID: "The folder is not a bundle.",
    Code.CALIBRATION_EMPTY: "The calibration data has no samples, or none that could be used.",
    Code.CALIBRATION_DOUBTFUL: "The calibration data has signs of a mistake, and "
    "--strict-calibration was given. docs/calibration.md lists the checks.",
    Code.CALIBRATION_INVALID: "A calibration sample has the wrong name, shape or dtype, or holds "
    "NaN or infinity.",
    Code.BENCHMARK_INCONCLUSIVE: "The measurements vary too much to say which one is faster. "
    "Give more time (--max-secs) on a quiet machine.",
}
