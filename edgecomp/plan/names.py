"""Names that the generated C uses."""

import re


def c_identifier(name: str) -> str:
    """A name that C accepts."""
    text = re.sub(r"\W", "_", name)
    return text if text and not text[0].isdigit() else f"m_{text}"
