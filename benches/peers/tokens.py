"""Texts to token ids for peers that bring no tokenizer of their own."""

from pathlib import Path

import numpy
from tokenizers import Tokenizer


class Tokens:
    def __init__(self, checkpoint):
        self.tokenizer = Tokenizer.from_file(str(Path(checkpoint) / "tokenizer.json"))

    def __call__(self, texts, prompt):
        return [encoding.ids for encoding in self.tokenizer.encode_batch([prompt + text for text in texts])]

    def by_length(self, texts, prompt):
        """Matrices of equally long sequences, and the places of their texts."""
        sequences = self(texts, prompt)
        for length in sorted({len(ids) for ids in sequences}):
            places = [place for place, ids in enumerate(sequences) if len(ids) == length]
            yield places, numpy.array([sequences[place] for place in places])
