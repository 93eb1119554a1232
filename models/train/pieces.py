"""Pieces of the training text: its words, each alone, and short runs of words out of its sentences."""

import collections
import random
import re

SEED = 20250608
# A word that is met less often teaches its letters only.
WORD_MET = 4
RUNS, SHORTEST, LONGEST = 25_000, 2, 8


def pieces(texts):
    """(group, role, text)"""
    chance = random.Random(SEED)
    words = [re.findall(r"[\w'-]+", text) for text in texts]
    for word, met in collections.Counter(word for run in words for word in run[1:]).items():
        if met >= WORD_MET and word.isalpha() and len(word) > 2:
            yield word, chance.choice(["query", "document"]), word
    for number in range(RUNS):
        run = chance.choice(words)
        length = chance.randint(SHORTEST, LONGEST)
        start = chance.randrange(max(1, len(run) - length + 1))
        yield number, chance.choice(["query", "document"]), " ".join(run[start : start + length])
