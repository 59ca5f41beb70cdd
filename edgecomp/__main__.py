"""``python -m edgecomp``."""

from edgecomp.cli import main

if __name__ == "__main__":
    main()
