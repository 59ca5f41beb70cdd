"""edgecomp: compile a trained model into a small native program for a device."""

__version__ = "0.1.0"
