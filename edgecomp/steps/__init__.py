"""The longer steps that ``edgecomp.api`` joins, one per file."""
