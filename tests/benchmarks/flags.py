"""What the command lines of this folder share."""

import argparse


def new_parser(text):
    """A parser whose help is the docstring of a script, as it stands there."""
    return argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def add_list(parser, flag, known, *, default=None, what=""):
    """A flag that takes some of the known words, with commas between them.

    Args:
        parser: that gets it.
        flag: with its dashes.
        known: words that may be given.
        default: all that are known where it is None.
        what: for the help, in front of the words.
    """
    words = list(known)

    def listed(text):
        given = [word.strip() for word in text.split(",") if word.strip()]
        unknown = sorted(set(given) - set(words))
        if unknown or not given:
            raise argparse.ArgumentTypeError(
                f"unknown {', '.join(unknown)}; known: {', '.join(words)}"
                if unknown
                else f"wanted some of {', '.join(words)}"
            )
        return given

    parser.add_argument(
        flag,
        type=listed,
        default=words if default is None else list(default),
        help=f"{what}of {', '.join(words)}",
    )
