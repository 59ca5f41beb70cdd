"""ONNX operators to operations of the program: one family per file.

Each file has a ``TABLE``: operator type -> function ``(reader, node) -> str`` that emits the
operation and returns "", or returns the reason why the node has to go another way. ``read.py``
holds the tables in one explicit list.
"""
