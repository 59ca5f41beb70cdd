"""Kernels for x86-64 (AVX2, AVX-512, VNNI) and ARM (NEON, dot product, i8mm)."""
