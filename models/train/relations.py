"""Statements and questions from WordNet's relations between nouns: kinds, parts, places."""

import random

from wordnet import capital

SEED = 20250607
# Of the synsets that occur in WordNet's tagged texts; of the proper names, which rarely do.
KEPT, NAMES_KEPT = 0.8, 0.5

KINDS = [
    ("document", "{W} is a kind of {h}."), ("document", "{W}, {h}"), ("query", "is {w} a {h}"),
    ("document", "The {w} is a {h}, like the {s}."), ("query", "What kind of {h} is a {w}?"),
    ("query", "which {h} is called {w}"), ("document", "{W} and {s} are {h}."), ("query", "{w} {h}"),
    ("query", "difference between {w} and {s}"), ("query", "{w} or {s}"), ("document", "{S}, {w} or another {h}."),
]
NAMES = [
    ("document", "{W} is a {h}."), ("query", "Which {h} is {w}?"), ("query", "{w} {h}"), ("document", "{W}, the {h}"),
    ("query", "Who or what is {w}?"),
]
PARTS = [
    ("document", "The {w} is a part of the {x}."), ("document", "A {x} has a {w}."), ("query", "parts of a {x}"),
    ("query", "what is the {w} of a {x}"), ("query", "{x} {w}"), ("document", "Every {x} needs a {w}."),
]
PLACES = [
    ("document", "{W} is in {x}."), ("query", "Where is {w}?"), ("query", "in which country is {w}"),
    ("document", "{W} belongs to {x}."), ("query", "{w} {x}"), ("document", "We travelled to {w} in {x}."),
]


def relations(entries):
    """(group, role, text) from the nouns' entries, as wordnet.Entry."""
    chance = random.Random(SEED)
    by_offset = {entry.offset: entry for entry in entries}
    for entry in entries:
        name = bool(entry.pointers.get("@i"))
        if chance.random() > (NAMES_KEPT if name else KEPT if entry.common else 0):
            continue
        above = entry.pointers.get("@i") or entry.pointers.get("@") or []
        for parent in above[:1]:
            kin = [by_offset[other] for other in by_offset[parent].pointers.get("~", [])]
            kin = [other for other in kin if other.common and other is not entry] or [by_offset[parent]]
            for role, template in chance.sample(NAMES if name else KINDS, 2):
                yield filled(entry, role, template, h=by_offset[parent].word, s=chance.choice(kin).word)
        for whole in entry.pointers.get("#p", [])[:1]:
            for role, template in chance.sample(PLACES if name else PARTS, 2):
                yield filled(entry, role, template, x=by_offset[whole].word)


def filled(entry, role, template, **words):
    words["w"] = entry.word
    words |= {name.upper(): capital(word) for name, word in words.items()}
    return entry.kind + entry.offset, role, template.format(**words)
