"""What is OpenCL's own of the schedules for GPUs."""
