"""Writes pairs.json: held-out texts in pairs with the teacher's cosine, what evaluate.py compares a model with.

Half of the pairs are drawn at random, which mostly gives texts that have nothing in common. In the other half, the
second text is the n-th nearest to the first by the teacher, with n spread evenly over the orders of magnitude, so that
close, related and distant texts are all there. Phrases that were made by the script are left out, and so are manual
pages.
"""

import json

import numpy
import torch

from places import HERE, WORK
from recipe import SEED
from teacher import read_texts

TEXTS, PAIRS = 1600, 2000


def main():
    rows = [(row, text) for row, text in enumerate(read_texts()) if usable(text)]
    random = torch.Generator().manual_seed(SEED)
    rows = [rows[index] for index in torch.randperm(len(rows), generator=random)[:TEXTS].tolist()]
    vectors = torch.from_numpy(numpy.load(WORK / "teacher.npy")[[row for row, _ in rows]]).float()
    vectors = torch.nn.functional.normalize(vectors, dim=-1)
    cosines = vectors @ vectors.T
    file = {
        "texts": [[text["role"], text["text"]] for _, text in rows],
        "random": listed(random_pairs(random), cosines),
        "ranked": listed(ranked_pairs(random, cosines), cosines),
    }
    with open(HERE / "pairs.json", "w", encoding="utf-8") as out:
        json.dump(file, out, ensure_ascii=False, separators=(",", ":"))


def usable(text):
    """Natural, held out, and free to be quoted here without a licence text of each manual page."""
    return text["held_out"] and text["natural"] and text["source"] != "freebsd-manpages"


def random_pairs(random):
    first = torch.randint(TEXTS, (PAIRS,), generator=random)
    return first, (first + torch.randint(1, TEXTS, (PAIRS,), generator=random)) % TEXTS


def ranked_pairs(random, cosines):
    first = torch.randint(TEXTS, (PAIRS,), generator=random)
    rank = (TEXTS ** torch.rand(PAIRS, generator=random)).long().clamp(1, TEXTS - 1)
    # The nearest text of all is the text itself.
    return first, cosines[first].argsort(1, descending=True)[torch.arange(PAIRS), rank]


def listed(pairs, cosines):
    first, second = (side.tolist() for side in pairs)
    return [[one, other, round(cosines[one, other].item(), 4)] for one, other in zip(first, second)]


if __name__ == "__main__":
    main()
