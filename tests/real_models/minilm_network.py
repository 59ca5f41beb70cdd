"""MiniLM-L6 as a torch module: a BERT encoder, the mean over the tokens, length one."""

import io
import zipfile

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

_WIDTH, _HEADS, _HIDDEN, _LAYERS = 384, 12, 1536, 6
_VOCABULARY, _POSITIONS = 30522, 512
_EPSILON = 1e-12


class Layer(nn.Module):
    """Attention and two products, each added to its input and normalized."""

    def __init__(self):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(_WIDTH, _WIDTH) for _ in range(3))
        self.out = nn.Linear(_WIDTH, _WIDTH)
        self.up, self.down = nn.Linear(_WIDTH, _HIDDEN), nn.Linear(_HIDDEN, _WIDTH)
        self.norm1 = nn.LayerNorm(_WIDTH, _EPSILON)
        self.norm2 = nn.LayerNorm(_WIDTH, _EPSILON)

    def forward(self, x, bias):
        def heads(y):
            return y.unflatten(-1, (_HEADS, _WIDTH // _HEADS)).transpose(1, 2)

        q, k, v = heads(self.query(x)), heads(self.key(x)), heads(self.value(x))
        scores = q @ k.transpose(2, 3) * (_WIDTH // _HEADS) ** -0.5 + bias
        mixed = (torch.softmax(scores, -1) @ v).transpose(1, 2).flatten(2)
        x = self.norm1(x + self.out(mixed))
        return self.norm2(x + self.down(F.gelu(self.up(x))))


class SentenceEncoder(nn.Module):
    """Token numbers and a mask of the tokens that count to one vector of length 1."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(_VOCABULARY, _WIDTH)
        self.places = nn.Embedding(_POSITIONS, _WIDTH)
        self.kinds = nn.Embedding(2, _WIDTH)
        self.norm = nn.LayerNorm(_WIDTH, _EPSILON)
        self.layers = nn.ModuleList(Layer() for _ in range(_LAYERS))

    def forward(self, ids, mask):
        x = self.words(ids) + self.places.weight[: ids.shape[1]] + self.kinds.weight[0]
        x = self.norm(x)
        present = mask.to(x.dtype)
        bias = (present[:, None, None] - 1) * 10000.0
        for layer in self.layers:
            x = layer(x, bias)
        mean = (x * present[:, :, None]).sum(1) / present.sum(1, keepdim=True)
        return mean / mean.norm(dim=1, keepdim=True)


_NAMES = {
    "attention.self.query": "query",
    "attention.self.key": "key",
    "attention.self.value": "value",
    "attention.output.dense": "out",
    "attention.output.LayerNorm": "norm1",
    "intermediate.dense": "up",
    "output.dense": "down",
    "output.LayerNorm": "norm2",
}


def sentence_encoder(archive):
    """The network with the weights of the package's model.zip, in eval mode."""
    import safetensors.torch

    with zipfile.ZipFile(archive) as files:
        loaded = safetensors.torch.load(io.BytesIO(files.read("model.safetensors")).read())
    weights = {
        "words.weight": loaded["embeddings.word_embeddings.weight"],
        "places.weight": loaded["embeddings.position_embeddings.weight"],
        "kinds.weight": loaded["embeddings.token_type_embeddings.weight"],
        "norm.weight": loaded["embeddings.LayerNorm.weight"],
        "norm.bias": loaded["embeddings.LayerNorm.bias"],
    }
    for index in range(_LAYERS):
        for theirs, ours in _NAMES.items():
            for part in ("weight", "bias"):
                source = f"encoder.layer.{index}.{theirs}.{part}"
                weights[f"layers.{index}.{ours}.{part}"] = loaded[source]
    network = SentenceEncoder()
    network.load_state_dict(weights)
    return network.eval()
