"""Images that threads share by bands of rows.

What one core wrote and another reads comes at the speed of memory, not of a cache: a depthwise
convolution whose input another core wrote gains nothing from a second thread (measured on a Xeon
of the Emerald Rapids generation, 2026-11-21). So the calls of a network cut their images in the
same way: by rows of pixels, in the order of the work items, whatever the number of threads.
Only where weights outweigh the images do the threads share channels instead, and with them the
weights.
"""

import math

#: Bands of an image: enough for 2 and 4 threads to get whole ones.
BANDS = 4
#: Rows of a band, at least: fewer would read the rows that windows share too often.
MINIMUM_ROWS = 3
#: Bytes of weights per byte of images above which threads share channels: the weights come
#: from a shared cache and once for each thread, the images from another core. Rows in bands read
#: the weights once for each band on one thread too: products of 384 x 384 weights for 128 rows,
#: 1.5, are 10 % quicker by columns on one thread and the same on two (2026-11-22).
WEIGHTS_PER_IMAGE = 1.25
#: Calls pass images on in bands where they take more than this part of the level-2 cache.
IMAGE_SHARE = 0.75
#: Part of the level-2 cache for such a band.
BAND_SHARE = 0.25
#: What pointwise convolutions do to the channels of a depthwise one between them, usually.
EXPANSION = 6


def shares_rows(weight_bytes: float, image_bytes: float) -> bool:
    """Whether threads share the rows of a product's images rather than its columns.

    Args:
        weight_bytes: all weights.
        image_bytes: input and output.
    """
    return weight_bytes <= WEIGHTS_PER_IMAGE * image_bytes


def cache_bands(image_bytes: int, l2_bytes: int) -> int:
    """Bands of an image that the level-2 cache holds with what follows; 1 if it holds it."""
    if image_bytes <= l2_bytes * IMAGE_SHARE:
        return 1
    return math.ceil(image_bytes / (l2_bytes * BAND_SHARE))


def depthwise_bands(channels: int, height: int, width: int, least: int = BANDS) -> int:
    """Bands of an image that is walked channel by channel, as its neighbours are cut.

    The neighbours are taken for pointwise convolutions that expand the channels before and
    reduce them behind.

    Args:
        channels: of the image.
        height: rows of output, of all images.
        width: of a row.
        least: bands, where the height allows it.
    """
    narrow = channels / EXPANSION
    images = height * width * (channels + narrow)
    if not shares_rows(channels * narrow, images):
        return 1
    return max(1, min(max(BANDS, least), height // MINIMUM_ROWS))


def rows_behind(pad: int, stride: int) -> int:
    """Rows by which a reader's bands end behind its writer's; see ``band_starts``.

    Args:
        pad: rows above the image that the first window reaches.
        stride: rows between neighbouring windows.
    """
    return -(-pad // stride)


def filled_bands(rows: int, bands: int) -> int:
    """As many bands, at most, as take all rows in bands of the same height.

    More would have a row less, and each costs a kernel its loops.
    """
    return math.ceil(rows / math.ceil(rows / bands))


def band_starts(rows: int, bands: int, behind: int = 0) -> tuple[int, ...]:
    """First row of each band, and the end of the last.

    A strip begins where a band does (``lower/strips.py``). The rows above it that its first
    window reads are in the writer's band of the same number only if the reader's begins so much
    later; else the strip would need all of the band before.

    Args:
        rows: of the image.
        bands: at most as many as there are rows.
        behind: rows by which they begin later than even ones, as far as all have rows then.
    """
    behind = min(behind, rows // bands - 1)
    return (0, *(band * rows // bands + behind for band in range(1, bands)), rows)
