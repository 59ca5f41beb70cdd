"""The integer meaning of a quantized model, in numpy: docs/numerics.md made executable."""
