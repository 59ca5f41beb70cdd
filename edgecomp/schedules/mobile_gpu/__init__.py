"""Schedules for GPUs that are driven through OpenCL."""
