"""All real models, in the order of the table."""

from real_models import (
    blazeface,
    efficientnet_lite0,
    magika,
    minilm,
    ocr_detection,
    ocr_direction,
    ocr_recognition,
)

MODELS = (
    efficientnet_lite0.MODEL,
    minilm.MODEL,
    ocr_detection.MODEL,
    ocr_recognition.MODEL,
    ocr_direction.MODEL,
    magika.MODEL,
    blazeface.MODEL,
)
