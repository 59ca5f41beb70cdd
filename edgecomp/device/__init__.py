"""Targets: data files in ``targets/`` read into dataclasses. No device is named in code."""
