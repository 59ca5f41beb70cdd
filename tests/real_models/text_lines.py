"""Lines of text drawn with PIL: labelled data for reading, finding and turning text."""

import random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

_WORDS = [
    "edge",
    "sensor",
    "reads",
    "twelve",
    "volts",
    "while",
    "the",
    "valve",
    "stays",
    "open",
    "Quick",
    "brown",
    "boxes",
    "jump",
    "over",
    "lazy",
    "dogs",
    "Invoice",
    "total",
    "amount",
    "due",
    "Street",
    "Number",
    "Berlin",
    "Paris",
    "Tokyo",
    "Oslo",
    "battery",
    "serial",
    "Model",
    "Revision",
    "pressure",
    "temperature",
    "humidity",
    "Warning",
    "keep",
    "away",
    "from",
    "children",
    "Net",
    "weight",
    "Made",
    "with",
    "recycled",
    "paper",
    "Gate",
    "Flight",
    "Seat",
    "Boarding",
    "closes",
    "minutes",
    "before",
    "departure",
]


def text_of(index: int, most_characters: int = 22) -> str:
    """Words, numbers and a little punctuation; the same for the same index."""
    draw = random.Random(index)
    parts: list[str] = []
    while True:
        kind = draw.random()
        if kind < 0.7:
            part = draw.choice(_WORDS)
        elif kind < 0.9:
            part = str(draw.randrange(10, 99999))
        else:
            part = f"{draw.randrange(1, 99)}.{draw.randrange(10, 99)}"
        if len(" ".join([*parts, part])) > most_characters:
            return " ".join(parts)
        parts.append(part)


def line_image(index: int, *, hard: bool = False, text: str | None = None) -> Image.Image:
    """A line 48 pixels high, as wide as its text.

    Args:
        index: of the text, and of what is done to it.
        hard: blur it, lower its contrast, turn it by up to two degrees and add noise.
        text: another one.
    """
    font = ImageFont.load_default(34)
    text = text_of(index) if text is None else text
    left, top, right, bottom = font.getbbox(text)
    draw = random.Random(index + 1_000_000)
    dark, light = (0, 255) if not hard else (90, 90 + draw.randrange(45, 90))
    image = Image.new("RGB", (int(right - left) + 16, 48), (light,) * 3)
    place = (8 - left, 24 - (top + bottom) / 2)
    ImageDraw.Draw(image).text(place, text, (dark,) * 3, font)
    if not hard:
        return image
    image = image.rotate(
        draw.uniform(-2, 2), Image.Resampling.BILINEAR, fillcolor=(light,) * 3
    )
    image = image.filter(ImageFilter.GaussianBlur(draw.uniform(1.0, 2.2)))
    noise = np.random.default_rng(index).normal(0, 10, (48, image.width, 1))
    return Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))


def page(index: int, size: tuple[int, int]) -> tuple[Image.Image, list[tuple[float, ...]]]:
    """A page of lines of several sizes, and the box (left, top, right, bottom) of each.

    Args:
        index: of the page; odd pages are dim and blurred.
        size: width and height in pixels.
    """
    draw = random.Random(index)
    width, height = size
    dim = index % 2 == 1
    paper = draw.randrange(120, 170) if dim else draw.randrange(225, 256)
    image = Image.new("RGB", size, (paper, paper, draw.randrange(paper - 20, paper)))
    canvas = ImageDraw.Draw(image)
    boxes = []
    top = draw.randrange(10, 30)
    while top < height - 50:
        points = draw.randrange(14, 34)
        font = ImageFont.load_default(points)
        text = text_of(draw.randrange(10**6), int(0.8 * width / points))
        left = draw.randrange(8, 60)
        ink = (
            (draw.randrange(0, 60),) * 3 if not dim else (paper - draw.randrange(35, 70),) * 3
        )
        box = canvas.textbbox((left, top), text, font)
        if box[2] < width - 8:
            canvas.text((left, top), text, ink, font)
            boxes.append(tuple(float(edge) for edge in box))
        top += int(points * draw.uniform(1.8, 2.6))
    if dim:
        image = image.filter(ImageFilter.GaussianBlur(0.8))
    return image, boxes


def normalized(image: Image.Image, width: int) -> np.ndarray:
    """float32 [1, 3, 48, width]: BGR, -1 to 1, what is left on the right is 0."""
    wanted = min(width, -(-48 * image.width // image.height))
    resized = image.resize((wanted, 48), Image.Resampling.BILINEAR)
    pixels = np.asarray(resized, np.float32)[:, :, ::-1].transpose(2, 0, 1) / 127.5 - 1
    result = np.zeros((1, 3, 48, width), np.float32)
    result[0, :, :, :wanted] = pixels
    return result
