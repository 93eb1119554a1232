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
    for file in sorted((HERE / "world").glob("*.txt")):
        facts = [line.split(" | ") for line in file.read_text(encoding="utf-8").splitlines()]
        for number, (question, first, second) in enumerate(facts):
            # Of a fact and its file alone: another file changes none of these texts.
            chance = random.Random(f"{SEED} {question}")
            fact = f"{file.name} {number}"
            yield fact, "query", question
            yield fact, "document", first
            yield fact, "document", second
            yield fact, "document", " ".join(chance.sample([first, second], 2))
            yield fact, "document", f"{question} {chance.choice([first, second])}"
            for _ in range(JOINED):
                other = chance.choice(facts)
                yield fact, "document", f"{chance.choice([first, second])} {chance.choice(other[1:])}"
                yield fact, "query", f"{question} {other[0]}"
