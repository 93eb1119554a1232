"""What every peer is given: the same texts, of known numbers of tokens, from a fixed seed."""

import json
import random
from pathlib import Path

from tokenizers import Tokenizer

SEED = 1
WORDS = (
    "the water people city light house river music world story time small large green white black open close "
    "move turn find give hold keep long short high deep early late north south young old first last school "
    "field power money paper table heart hand night morning summer winter"
).split()
CASES = ("1x16", "1x32", "1x128", "8x32", "8x256", "mixed", "queries")
MIXED, SHORTEST, LONGEST = 32, 5, 2000
QUERIES, QUERY_TOKENS = 8, 8


class Workload:
    """Requests of each case: lists of texts, and the prompt that stands before each text."""

    def __init__(self, checkpoint):
        self.tokenizer = Tokenizer.from_file(str(Path(checkpoint) / "tokenizer.json"))
        declared = json.loads((Path(checkpoint) / "config_sentence_transformers.json").read_text())
        self.prompt = declared["prompts"]["query"]
        self.context = json.loads((Path(checkpoint) / "config.json").read_text())["max_position_embeddings"]

    def tokens(self, texts, prompt=""):
        return [len(encoding.ids) for encoding in self.tokenizer.encode_batch([prompt + text for text in texts])]

    def requests(self, case):
        generator = random.Random(SEED)
        if case == "queries":
            texts = self._texts(generator, [QUERY_TOKENS + 1] * QUERIES)
            return [[text] for text in texts], self.prompt
        if case == "mixed":
            longest = min(LONGEST, self.context)
            powers = [generator.random() ** 2 for _ in range(MIXED)]
            lengths = [int(SHORTEST * (longest / SHORTEST) ** power) for power in powers]
            return [self._texts(generator, lengths)], ""
        rows, length = map(int, case.split("x"))
        return [self._texts(generator, [length] * rows)], ""

    def _texts(self, generator, lengths):
        """None begins as another does, so that no engine can share work that real texts would not."""
        return [self._text(generator, WORDS[place % len(WORDS)], length) for place, length in enumerate(lengths)]

    def _text(self, generator, first, length):
        """Words of so many tokens together with the EOS, or of the nearest number below."""
        words = [first]
        while self.tokens([" ".join(words)])[0] < length:
            missing = length - self.tokens([" ".join(words)])[0]
            words += [generator.choice(WORDS) for _ in range(max(1, missing // 2))]
        while self.tokens([" ".join(words)])[0] > length:
            words.pop()
        return " ".join(words)
