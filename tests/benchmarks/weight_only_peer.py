"""The language model with weights by llm-compressor's GPTQ; ``weight_only.py`` runs it.

    python tests/benchmarks/weight_only_peer.py FOLDER ROWS.npy SETTINGS

SETTINGS are JSON: bits, group, symmetric, actorder, damping, observer, windows. That python has torch,
llmcompressor (0.14 was used) and tokenizers. ``oneshot`` with ``GPTQModifier`` goes through the layers one
after the other; ``actorder: weight`` is the order of rows of edgecomp too. Prints bits per character
of the test text.
"""

import json
import pathlib
import sys
import tempfile

import numpy as np
import torch
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from language_model import LanguageModel, bits_per_character, read_tokens, with_torch
from llmcompressor import oneshot
from llmcompressor.modifiers.gptq import GPTQModifier
from torch.utils.data import DataLoader
from transformers import PretrainedConfig, PreTrainedModel


class _Wrapped(PreTrainedModel):
    """What ``oneshot`` takes: a model of transformers."""

    config_class = PretrainedConfig
    all_tied_weights_keys = {}  # noqa: RUF012 - transformers reads it

    def __init__(self, config, model):
        super().__init__(config)
        self.model = model

    def forward(self, tokens):
        return self.model(tokens)


def main():
    """Quantize and judge."""
    folder, rows = sys.argv[1:3]
    given = json.loads(sys.argv[3])
    torch.set_num_threads(1)
    model = LanguageModel()
    path = pathlib.Path(folder)
    model.load_state_dict(torch.load(path / "model.pt", weights_only=True))
    data = [{"tokens": torch.from_numpy(row)} for row in np.load(rows)]
    order = None if given["actorder"] == "none" else given["actorder"]
    arguments = QuantizationArgs(
        num_bits=given["bits"], type="int", symmetric=given["symmetric"], strategy="group",
        group_size=given["group"], observer=given["observer"],
        actorder=order,
    )  # fmt: skip
    scheme = QuantizationScheme(targets=["Linear"], weights=arguments)
    with tempfile.TemporaryDirectory() as place:
        # transformers looks the model's name up as a folder with a configuration.
        (pathlib.Path(place) / "config.json").write_text('{"model_type": "gpt2"}')
        config = PretrainedConfig()
        config._name_or_path = place
        wrapped = _Wrapped(config, model.eval())
        wrapped.name_or_path = place
        gptq = GPTQModifier(
            config_groups={"all": scheme},
            ignore=[],
            actorder=order,
            dampening_frac=given["damping"],
        )
        oneshot(
            model=wrapped, processor=object(), dataset=DataLoader(data, batch_size=1),
            recipe=[gptq],
            num_calibration_samples=len(data), pipeline="sequential",
            sequential_targets=["Layer"],
        )  # fmt: skip
    test = read_tokens(path)["test"]
    bits_found = bits_per_character(with_torch(model), test, given["windows"])
    print(json.dumps({"bits_per_character": bits_found}))


if __name__ == "__main__":
    main()
