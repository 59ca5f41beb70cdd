"""Find the layers that a quantized model loses its accuracy in, and what helps."""
