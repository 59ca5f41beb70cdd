"""What numbers a model can be compiled to, and what is stored how in each."""

#: What numbers a model is compiled to, with the names other tools give it. Without "-int" a16 are
#: floats, as where language models are quantized, not 16-bit integers (docs/quantization.md).
PRECISIONS = {
    "fp32": ("float32", "f32"),
    "w8a8": ("int8", "8a8w", "static_wi8_ai8"),
    "w4a8": ("8a4w",),
    "w8a16-int": ("16a8w", "int16x8", "static_wi8_ai16"),
    "w16a16-int": ("w16a16", "16a16w"),
    "w16a8": ("8a16w", "w16a8-int"),
    "w8a8-dynamic": ("8da8w",),
    "w4a8-dynamic": ("8da4w",),
    "auto": (),
    "fp16": ("float16", "f16"),
    "bf16": ("bfloat16",),
    "fp8": ("fp8-e4m3", "float8", "float8_e4m3fn", "f8e4m3"),
    "fp8-e5m2": ("float8_e5m2", "f8e5m2"),
    "log2": ("power-of-two", "pot4"),
    "w8a16": ("w8a32", "weight_only_wi8_afp32"),
    "w4a16": ("w4a32", "weight_only_wi4_afp32", "int4"),
    "w3a16": ("w3a32",),
    "w2a16": ("w2a32", "weight_only_wi2_afp32", "int2"),
    "binary": ("w1a16", "w1a32"),
}
#: Bits of a weight, by the precisions that store weights in few bits and nothing else.
WEIGHT_BITS = {"w8a16": 8, "w4a16": 4, "w3a16": 3, "w2a16": 2, "binary": 1}
#: Types that weights are rounded to, by the precisions that do nothing else.
WEIGHT_TYPES = {
    "fp16": "float16",
    "bf16": "bfloat16",
    "fp8": "float8_e4m3fn",
    "fp8-e5m2": "float8_e5m2",
    "log2": "log2",
}
#: Types that a target's GPU stores activations in, by the precisions that round weights to them.
GPU_FLOATS = {"fp16": "float16", "bf16": "bfloat16"}
#: Bits of a weight, by the precisions whose activations are quantized while the model runs.
DYNAMIC_BITS = {"w8a8-dynamic": 8, "w4a8-dynamic": 4}
#: Bits of weights and of activations, by the precisions with 16-bit integers.
SIXTEEN_BITS = {"w8a16-int": (8, 16), "w16a16-int": (16, 16), "w16a8": (16, 8)}
#: Where a portable model keeps what was lost in each layer, as JSON.
WEIGHTS_PROPERTY = "edgecomp.weights"
