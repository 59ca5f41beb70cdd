"""What an n-gram model gives: the bar that a language model has to be well below.

Interpolated Kneser-Ney with three discounts per order (Chen and Goodman, "An empirical study of
smoothing techniques for language modeling", 1999), of order 6 over all of the training text.
"""

import numpy as np


class NgramModel:
    """Counts of one text.

    Args:
        text: character numbers, uint8.
        characters: how many there are.
        order: characters of the longest n-gram.
    """

    def __init__(self, text, characters, order=6):
        self.characters, self.order = characters, order
        codes, counts = np.unique(_codes(text, characters, order), return_counts=True)
        self.tables = [None] * (order + 1)
        for length in range(order, 0, -1):
            self.tables[length] = _Table(codes, counts, characters)
            # Shorter ones count before how many different characters they stand.
            codes, counts = np.unique(codes % characters ** (length - 1), return_counts=True)

    def bits(self, text, places):
        """Mean bits of the characters at places of a text, each at least ``order - 1``."""
        probability = np.full(len(places), 1.0 / self.characters)
        for length in range(1, self.order + 1):
            code = np.zeros(len(places), np.int64)
            for back in range(length - 1, -1, -1):
                code = code * self.characters + text[places - back]
            probability = self.tables[length].interpolate(code, probability)
        return float(-np.log2(probability).mean())


class _Table:
    """n-grams of one length: counts, and what their contexts give away."""

    def __init__(self, codes, counts, characters):
        self.codes, self.counts, self.characters = codes, counts, characters
        ones, twos, threes, fours = (max(1, int((counts == n).sum())) for n in (1, 2, 3, 4))
        share = ones / (ones + 2 * twos)
        ratios = (twos / ones, threes / twos, fours / threes)
        self.discounts = np.array(
            [0.0, *(k - (k + 1) * share * r for k, r in enumerate(ratios, start=1))]
        ).clip(0.0)
        taken = self.discounts[np.minimum(counts, 3)]
        self.contexts, first = np.unique(codes // characters, return_index=True)
        self.totals = np.add.reduceat(counts, first)
        self.free = np.add.reduceat(taken, first) / self.totals

    def interpolate(self, codes, lower):
        """Probabilities from those one order below."""
        place = np.minimum(np.searchsorted(self.codes, codes), len(self.codes) - 1)
        count = np.where(self.codes[place] == codes, self.counts[place], 0)
        contexts = codes // self.characters
        at = np.minimum(np.searchsorted(self.contexts, contexts), len(self.contexts) - 1)
        known = self.contexts[at] == contexts
        own = (count - self.discounts[np.minimum(count, 3)]) / self.totals[at]
        return np.where(known, own + self.free[at] * lower, lower)


def _codes(text, characters, length):
    codes = np.zeros(len(text) - length + 1, np.int64)
    for offset in range(length):
        codes = codes * characters + text[offset : len(text) - length + 1 + offset]
    return codes
