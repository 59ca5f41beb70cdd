"""onnxruntime's own static quantization. Needs nothing of edgecomp."""

import pathlib
import tempfile


def quantize_by_onnxruntime(source, feeds, result, **settings):
    """Write ``quantize_static`` of a file, in QDQ form with int8 weights, after its preparation.

    Args:
        source: float ONNX file.
        feeds: calibration samples, arrays by input name.
        result: path of the new file.
        settings: of ``quantize_static``, where they are not its defaults.
    """
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self):
            self._feeds = iter(feeds)

        def get_next(self):
            return next(self._feeds, None)

    with tempfile.TemporaryDirectory() as folder:
        prepared = pathlib.Path(folder) / "prepared.onnx"
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(result),
            Reader(),
            quant_format=QuantFormat.QDQ,
            weight_type=QuantType.QInt8,
            **settings,
        )
