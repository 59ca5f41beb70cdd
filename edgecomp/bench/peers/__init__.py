"""Other runtimes, each in an interpreter of its own: nothing here imports more than numpy.

The package runs in whatever virtual environment has the runtime, beside packages that edgecomp
does not know, so it may import the standard library, numpy, itself and, inside functions, the
runtime. ``convert`` makes the runtime's own form of a model, ``serve`` times it on request.
"""
