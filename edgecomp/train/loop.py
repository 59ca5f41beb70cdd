"""The training loop of quantized models: Adam with rates that fall to zero."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import onnx_ir as ir
import torch

from edgecomp.errors import Code, EdgecompError
from edgecomp.progress import Progress, silent
from edgecomp.train.loss import distillation_loss
from edgecomp.train.network import Network
from edgecomp.train.write import trained_model

#: (outputs, targets) -> a number to make small.
Loss = Callable[[Any, Any], torch.Tensor]


@dataclasses.dataclass(frozen=True)
class Finetuned:
    """A trained model.

    Attributes:
        model: portable, as before but for its numbers.
        losses: mean over each epoch.
    """

    model: ir.Model
    losses: tuple[float, ...]


def finetune(
    model: ir.Model,
    batches: Iterable[Any],
    loss: Loss | None = None,
    *,
    teacher: Any = None,
    epochs: int = 1,
    learning_rate: float = 1e-4,
    step_learning_rate: float = 1e-3,
    progress: Progress = silent,
) -> Finetuned:
    """Train weights, scales and zero points of a quantized model.

    Args:
        model: as ``edgecomp.quantize`` returns it; not changed.
        batches: read once per epoch, so a list or a data loader rather than a generator. Each is
            inputs, or with labels a pair of inputs and targets. Inputs are a tensor or an array,
            a mapping by input name, or a tuple or list of them in the order of the graph's.
            Where ``len`` does not tell how many there are, rates stay as they are while the
            first epoch counts them.
        loss: of outputs and targets, outputs being a tuple where there are several. Without one
            the outputs of the teacher are learned and batches have no targets.
        teacher: with no loss: the float model, an onnx_ir model or a callable of the inputs.
        epochs: how often all batches are read.
        learning_rate: of weights, at the beginning; it falls to zero along a cosine.
        step_learning_rate: of scales and zero points, in shares of the scale and of the range.
        progress: told about every batch.

    Raises:
        EdgecompError: OPERATOR_UNSUPPORTED (see ``Network``), USAGE for batches or rates that
            cannot be trained with, INPUT_MISMATCH.
    """
    if epochs < 1:
        raise EdgecompError(Code.USAGE, "epochs must be 1 or more")
    for rate in (learning_rate, step_learning_rate):
        if not 0.0 <= rate < math.inf:
            raise EdgecompError(
                Code.USAGE, f"a learning rate is a finite number from 0 on, not {rate}"
            )
    if (loss is None) == (teacher is None):
        raise EdgecompError(
            Code.USAGE,
            "either a loss of outputs and targets is needed, or a teacher to learn from",
            hint="give loss=torch.nn.functional.cross_entropy, or teacher= the float model",
        )
    network = Network(model)
    names = [value.name or "" for value in network.model.graph.inputs]
    teach = Network(teacher) if isinstance(teacher, ir.Model) else teacher
    optimizer = torch.optim.Adam(
        [
            {"params": list(network.weights), "lr": learning_rate},
            {"params": network.step_parameters(), "lr": step_learning_rate},
        ]
    )
    total = _count(batches)
    losses = []
    for epoch in range(epochs):
        sums = 0.0
        count = 0
        for batch in batches:
            given, targets = _parts(batch, names, labelled=loss is not None)
            inputs = network.fitting(given)
            if teach is not None:
                with torch.no_grad():
                    targets = teach(*inputs)
            share = min(1.0, count / total) if total else 0.0
            _set_rates(optimizer, (epoch + share) / epochs)
            found = (loss or distillation_loss)(network(*inputs), targets)
            sums += _step(optimizer, found)
            count += 1
            progress("train", epoch * total + count, epochs * total)
        if not count:
            raise _no_batches(epoch)
        total = count
        losses.append(sums / count)
    return Finetuned(trained_model(network), tuple(losses))


def _step(optimizer: Any, loss: torch.Tensor) -> float:
    number = float(loss.detach())
    if not math.isfinite(number):
        raise EdgecompError(
            Code.USAGE,
            f"training diverged: the loss is {number}",
            hint="train with a lower learning rate, and look for inputs that are not finite",
        )
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return number


def _set_rates(optimizer: Any, done: float) -> None:
    """A cosine from the rate given to zero."""
    for group in optimizer.param_groups:
        first = group.setdefault("first_lr", group["lr"])
        group["lr"] = first * (1 + math.cos(math.pi * done)) / 2


def _count(batches: Iterable[Any]) -> int:
    """How many there are, 0 where only reading tells."""
    try:
        return len(batches)  # type: ignore[arg-type]
    except TypeError:
        return 0


def _no_batches(epoch: int) -> EdgecompError:
    if epoch == 0:
        return EdgecompError(Code.USAGE, "there is no batch to train with")
    return EdgecompError(
        Code.USAGE,
        "the batches could be read once only",
        hint="give a list or a data loader, or epochs=1",
    )


def _parts(batch: Any, names: Sequence[str], *, labelled: bool) -> tuple[list[Any], Any]:
    """Inputs in the order of the names, and targets."""
    targets = None
    if labelled:
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise EdgecompError(
                Code.USAGE,
                "a batch is not a pair of inputs and targets",
                hint="without targets leave the loss out and give a teacher",
            )
        batch, targets = batch
    if isinstance(batch, Mapping):
        missing = [name for name in names if name not in batch]
        if missing:
            raise EdgecompError(
                Code.INPUT_MISMATCH,
                f"a batch has no input '{missing[0]}'",
                hint="the model's inputs are " + ", ".join(names),
            )
        batch = [batch[name] for name in names]
    inputs = list(batch) if isinstance(batch, tuple | list) else [batch]
    return inputs, _as_tensors(targets)


def _as_tensors(targets: Any) -> Any:
    return torch.as_tensor(targets) if hasattr(targets, "__array__") else targets
