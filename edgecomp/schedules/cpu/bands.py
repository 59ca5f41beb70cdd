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


def band_rows(rows: int, bands: int) -> int:
    """Rows of a band; the last ones have fewer where it does not divide."""
    return math.ceil(rows / bands)
