"""The command line: one file per verb, thin over ``edgecomp.api``."""
