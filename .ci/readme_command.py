"""Print one of the README's commands: the shell block after ``<!-- command: NAME -->``."""

import pathlib
import re
import sys

README = pathlib.Path(__file__).parent.parent / "README.md"


def readme_command(name: str) -> str:
    """The text of a command block."""
    pattern = rf"<!-- command: {re.escape(name)} -->\n```sh\n(.*?)```"
    found = re.search(pattern, README.read_text(encoding="utf-8"), re.DOTALL)
    if found is None:
        sys.exit(f"README.md has no command block '{name}'")
    return found.group(1).strip()


if __name__ == "__main__":
    print(readme_command(sys.argv[1]))
