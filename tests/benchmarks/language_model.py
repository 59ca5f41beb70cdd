"""A small language model, trained here: the subject of weight-only quantization.

    python tests/benchmarks/language_model.py train FOLDER [--minutes 40] [--threads 1]
    python tests/benchmarks/language_model.py export FOLDER

A transformer that reads 128 tokens, byte pairs of Python sources, and gives the logits of the next
one at each place. The checkpoint with the least loss on the validation text is FOLDER/model.pt,
its tokens are in FOLDER/tokens.npz; training that is started again begins anew.
"""

import argparse
import math
import pathlib
import time

import numpy as np
import torch
from language_text import read_text, tokenize, train_tokenizer
from torch import nn

WIDTH, LAYERS, HEADS, CONTEXT, TOKENS = 192, 4, 6, 128, 1024
_BATCH = 12
_RATE, _WARMUP_STEPS, _DECAY = 3e-3, 100, 0.1


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
    """int64 tokens [batch, length] to float32 logits [batch, length, TOKENS]."""

    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(TOKENS, WIDTH)
        self.places = nn.Embedding(CONTEXT, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.last = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, TOKENS)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                residual = name.endswith(("attention_out.weight", "down.weight"))
                scale = 0.02 / math.sqrt(2 * LAYERS) if residual else 0.02
                nn.init.normal_(parameter, std=scale)

    def forward(self, tokens):
        length = tokens.shape[1]
        x = self.tokens(tokens) + self.places(torch.arange(length))
        for layer in self.layers:
            x = layer(x)
        return self.head(self.last(x))


def windows_of(tokens, count):
    """Evenly spread windows: rows of CONTEXT + 1 tokens."""
    starts = np.linspace(0, len(tokens) - CONTEXT - 1, count).astype(int)
    return starts, np.stack([tokens[s : s + CONTEXT + 1] for s in starts])


def bits_per_character(logits_of, text, windows=128):
    """Of the second halves of windows: each token has half a window or more before it.

    Args:
        logits_of: rows of CONTEXT tokens to logits, both numpy.
        text: tokens and how many characters each stands for.
        windows: how many.
    """
    tokens, lengths = text
    starts, rows = windows_of(tokens, windows)
    half = CONTEXT // 2
    total = 0.0
    for row in rows:
        logits = logits_of(row[None, :-1])[0, half:].astype(np.float64)
        chosen = np.take_along_axis(logits, row[half + 1 :, None], 1)[:, 0]
        largest = logits.max(1)
        total += (np.log(np.exp(logits - largest[:, None]).sum(1)) + largest - chosen).sum()
    characters = sum(lengths[s + half + 1 : s + CONTEXT + 1].sum() for s in starts)
    return total / characters / math.log(2)


def with_torch(model):
    """``logits_of`` of a torch model."""

    def logits_of(rows):
        with torch.inference_mode():
            return model(torch.from_numpy(rows)).numpy()

    return logits_of


def read_tokens(folder, texts=None):
    """Tokens and lengths of each part of the text; made where the folder has none yet."""
    path = folder / "tokens.npz"
    if not path.exists():
        texts = texts or read_text()
        tokenizer = train_tokenizer(texts["training"], TOKENS)
        tokenizer.save(str(folder / "tokenizer.json"))
        found = {}
        for part, text in texts.items():
            found[f"{part}_tokens"], found[f"{part}_lengths"] = tokenize(tokenizer, text)
        np.savez_compressed(path, **found)
    arrays = np.load(path)
    return {
        part: (arrays[f"{part}_tokens"], arrays[f"{part}_lengths"])
        for part in ("training", "validation", "test")
    }


def train(folder, minutes):
    """Train for a time; the rate falls to zero by a cosine over it."""
    folder.mkdir(parents=True, exist_ok=True)
    text = read_tokens(folder)
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    model = LanguageModel()
    decayed = [p for p in model.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if p.ndim != 2]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": _DECAY}, {"params": others, "weight_decay": 0.0}],
        lr=_RATE, betas=(0.9, 0.95), fused=True,
    )  # fmt: skip
    source, lengths = text["training"]
    size = sum(p.numel() for p in model.parameters())
    print(f"{size} parameters, {lengths.sum()} characters in {len(source)} tokens", flush=True)
    begin, step, best = time.monotonic(), 0, math.inf
    while (done := (time.monotonic() - begin) / (60 * minutes)) < 1.0:
        rate = _RATE * min(1.0, (step + 1) / _WARMUP_STEPS)
        for group in optimizer.param_groups:
            group["lr"] = rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
        starts = random.integers(0, len(source) - CONTEXT - 1, _BATCH)
        rows = torch.from_numpy(np.stack([source[s : s + CONTEXT + 1] for s in starts]))
        logits = model(rows[:, :-1])
        loss = nn.functional.cross_entropy(logits.reshape(-1, TOKENS), rows[:, 1:].reshape(-1))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        if step % 250 == 0:
            bits = bits_per_character(with_torch(model), text["validation"])
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
        model.eval(), (example,), dynamo=True, input_names=["tokens"],
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
