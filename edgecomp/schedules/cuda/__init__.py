"""CUDA C of the GPUs' kernels, and schedules that only CUDA has."""
