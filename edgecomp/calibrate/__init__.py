"""Calibration: read samples, observe activations, choose ranges."""
