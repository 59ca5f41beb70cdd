"""A small language model of characters, trained here: the subject of weight-only quantization.

    python tests/benchmarks/language_model.py train FOLDER [--minutes 40] [--threads 1]
    python tests/benchmarks/language_model.py export FOLDER

A transformer that reads 128 characters and gives the logits of the next one at each place. The
checkpoint with the least loss on the validation text is FOLDER/model.pt; training that is started
again begins anew.
"""

import argparse
import math
import pathlib
import time

import numpy as np
import torch
from language_text import ALPHABET, read_text
from torch import nn

WIDTH, LAYERS, HEADS, CONTEXT = 256, 4, 8, 128
_BATCH = 12
_RATE, _WARMUP_STEPS, _DECAY = 2e-3, 150, 0.1


class Layer(nn.Module):
    """Attention and a perceptron, each behind a normalization and around a residual."""

    def __init__(self):
        super().__init__()
        self.before_attention = nn.LayerNorm(WIDTH)
        self.query_key_value = nn.Linear(WIDTH, 3 * WIDTH)
        self.attention_out = nn.Linear(WIDTH, WIDTH)
        self.before_perceptron = nn.LayerNorm(WIDTH)
        self.up = nn.Linear(WIDTH, 4 * WIDTH)
        self.down = nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x):
        batch, length, _ = x.shape
        parts = self.query_key_value(self.before_attention(x)).chunk(3, dim=-1)
        heads = (p.view(batch, length, HEADS, WIDTH // HEADS).transpose(1, 2) for p in parts)
        mixed = nn.functional.scaled_dot_product_attention(*heads, is_causal=True)
        x = x + self.attention_out(mixed.transpose(1, 2).reshape(batch, length, WIDTH))
        return x + self.down(nn.functional.gelu(self.up(self.before_perceptron(x))))


class LanguageModel(nn.Module):
    """int64 characters [batch, length] to float32 logits [batch, length, characters]."""

    def __init__(self):
        super().__init__()
        self.characters = nn.Embedding(len(ALPHABET), WIDTH)
        self.places = nn.Embedding(CONTEXT, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.last = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, len(ALPHABET))
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                residual = name.endswith(("attention_out.weight", "down.weight"))
                scale = 0.02 / math.sqrt(2 * LAYERS) if residual else 0.02
                nn.init.normal_(parameter, std=scale)

    def forward(self, characters):
        length = characters.shape[1]
        x = self.characters(characters) + self.places(torch.arange(length))
        for layer in self.layers:
            x = layer(x)
        return self.head(self.last(x))


def bits_per_character(model, text, windows=256):
    """On evenly spread windows of a text, each character but a window's first."""
    starts = np.linspace(0, len(text) - CONTEXT - 1, windows).astype(int)
    model.eval()
    total = 0.0
    with torch.inference_mode():
        for group in np.array_split(starts, max(1, windows // 64)):
            rows = torch.from_numpy(np.stack([text[s : s + CONTEXT + 1] for s in group]))
            rows = rows.long()
            logits = model(rows[:, :-1])
            total += float(
                nn.functional.cross_entropy(
                    logits.reshape(-1, len(ALPHABET)), rows[:, 1:].reshape(-1), reduction="sum"
                )
            )
    model.train()
    return total / (windows * CONTEXT) / math.log(2)


def train(folder, minutes):
    """Train for a time; the rate falls to zero by a cosine over it."""
    folder.mkdir(parents=True, exist_ok=True)
    text = read_text()
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    model = LanguageModel()
    decayed = [p for p in model.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if p.ndim != 2]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": _DECAY}, {"params": others, "weight_decay": 0.0}],
        lr=_RATE, betas=(0.9, 0.95), fused=True,
    )  # fmt: skip
    source = text["training"]
    print(f"{sum(p.numel() for p in model.parameters())} parameters, {len(source)} characters")
    begin, step, best = time.monotonic(), 0, math.inf
    while (done := (time.monotonic() - begin) / (60 * minutes)) < 1.0:
        rate = _RATE * min(1.0, (step + 1) / _WARMUP_STEPS)
        for group in optimizer.param_groups:
            group["lr"] = rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
        starts = random.integers(0, len(source) - CONTEXT - 1, _BATCH)
        rows = torch.from_numpy(np.stack([source[s : s + CONTEXT + 1] for s in starts])).long()
        logits = model(rows[:, :-1])
        loss = nn.functional.cross_entropy(
            logits.reshape(-1, len(ALPHABET)), rows[:, 1:].reshape(-1)
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        if step % 200 == 0:
            bits = bits_per_character(model, text["validation"])
            print(f"{done:.3f} step {step} validation {bits:.4f} bits", flush=True)
            if bits < best:
                best = bits
                torch.save(model.state_dict(), folder / "model.pt.new")
                (folder / "model.pt.new").replace(folder / "model.pt")


def export(folder):
    """FOLDER/model.onnx of one row of characters, from the checkpoint."""
    model = LanguageModel()
    model.load_state_dict(torch.load(folder / "model.pt", weights_only=True))
    example = torch.zeros(1, CONTEXT, dtype=torch.int64)
    path = folder / "model.onnx"
    program = torch.onnx.export(
        model.eval(), (example,), dynamo=True, input_names=["characters"],
        output_names=["logits"], verbose=False,
    )  # fmt: skip
    program.save(str(path))
    return path


def main():
    """Train or export."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("verb", choices=("train", "export"))
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--minutes", type=float, default=40.0)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.verb == "train":
        train(arguments.folder, arguments.minutes)
    print(export(arguments.folder))


if __name__ == "__main__":
    main()
