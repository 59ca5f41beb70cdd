"""Why a node cannot be trained through."""


class Unsupported(Exception):  # noqa: N818  # an answer, not an error
    """The reason, as read behind the node's name."""
