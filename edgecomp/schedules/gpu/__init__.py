"""Schedules that all GPUs share: work items of a grid, in whatever language their text is."""
