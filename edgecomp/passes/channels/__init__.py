"""Which channels of a graph depend on each other: the analysis behind channel stripping.

``state`` holds what is known of each value's channels, ``rules_*`` say per operator how channels
go through it and how the node changes when some of them are dropped.
"""
