"""What is installed on this machine. One kind of thing per file, each with ``look()``."""
