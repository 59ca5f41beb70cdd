"""Records of GPU kernels to text, apart from what each language decides."""
