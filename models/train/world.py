"""Questions about the world and their answers, from world/*.txt: a fact a line, a question and two statements.

The texts were written for this, by authors who had not read sets.json. Each is read alone, with its neighbour and in
company: two statements of one fact make a longer text, and so do statements of two.
"""

import random

from places import HERE

SEED = 20250609
# Statements of other facts that a statement is joined to.
JOINED = 2


def world():
    """(fact, role, text)"""
    facts = read_facts()
    chance = random.Random(SEED)
    for number, (question, first, second) in enumerate(facts):
        yield number, "query", question
        yield number, "document", first
        yield number, "document", second
        yield number, "document", " ".join(chance.sample([first, second], 2))
        yield number, "document", f"{question} {chance.choice([first, second])}"
        for _ in range(JOINED):
            other = chance.choice(facts)
            yield number, "document", f"{chance.choice([first, second])} {chance.choice(other[1:])}"
            yield number, "query", f"{question} {other[0]}"


def read_facts():
    files = sorted((HERE / "world").glob("*.txt"))
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    return [line.split(" | ") for line in lines]
