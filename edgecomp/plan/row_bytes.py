"""How the bytes of few rows lie between two kernels of a product with packed weights.

A block of a row is three planes of signed bytes, each as long as whole runs of elements, then the sum
of each plane and the factor of all: words of 32 bits.
"""

#: Rows of a product with packed weights that are few: reading the weights is what counts.
FEW_ROWS = 4
#: Signed bytes of an element of x.
PLANES = 3
#: Elements of x that a plane has whole runs of.
_RUN = 16


def plane_words(block: int) -> int:
    """Words of a plane of ``block`` elements, four bytes each."""
    return -(-block // _RUN) * _RUN // 4


def block_words(block: int) -> int:
    """Words of a block: planes, their sums and a factor."""
    return PLANES * plane_words(block) + PLANES + 1
