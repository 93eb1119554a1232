"""Texts about everyday life, made from everyday.txt: 85 topics with things, doings, statements and questions.

The lists were written for this, by someone who knew the subjects of sets.json; a text that repeats four words of a set
in a row is dropped by text.py, whatever its source.
"""

import random
import re

from places import HERE

SEED = 20250606
PER_TOPIC = 600
# How often the second thing comes from another topic.
ELSEWHERE = 0.25

TEMPLATES = {
    "query": [
        "how to {d}", "How do I {d}?", "how to {d} with a {t}", "what do I need to {d}", "Where can I {d}?",
        "best way to {d}", "Why should I {d}?", "best {t} for {topic}", "where to buy a {t}", "my {t} is broken",
        "What is a {t} used for?", "{t} or {u}", "help with {topic}", "How much does a {t} cost?", "Who uses a {t}?",
        "what is the difference between a {t} and a {u}?", "{topic}", "Is it hard to {d}?", "I cannot find my {t}",
        "{d} and {e}", "when to {d}", "{t} {topic}", "How long does it take to {d}?", "ways to {d}", "{d}",
        "is it safe to {d} without a {t}", "Which {t} is the cheapest?", "someone to {d}", "I want to {d}",
        "What happens if I {d}?", "learning to {d}", "Why is the {t} important?", "how does a {t} work",
        "advice about {topic}", "how many kinds of {t} are there", "Can I {d} at home?", "{t} for beginners",
    ],
    "document": [
        "You can {d} with the {t}.", "They wanted to {d}, but the {t} was too old.", "She has to {d} before the evening.",
        "A {t} and a {u} are used in {topic}.", "To {d}, you need time and a {t}.", "He bought a {t} and a {u}.",
        "The {t} stood next to the {u}.", "My brother asked me to {d}.", "Always check the {t} before you {d}.",
        "The {t} is too expensive for most people.", "Nobody knew how to {d}.", "First {d}, then {e}.",
        "The old man gave his {t} to a woman from the next town.", "A good {t} lasts for years.", "{T}, {u} and {w}.",
        "We could not {d} because the {t} was gone.", "In the past, people used to {d} without a {t}.",
        "She forgot her {t} and could not {d}.", "The {t} was invented long ago.", "It is forbidden to {d} here.",
        "Many books about {topic} have been written.", "He earns his living with {topic}.", "{D} and {e}.",
        "The {t} was found under the {u}.", "There are many kinds of {t}.", "The girl asked for a new {t}.",
        "Without a {t} it is difficult to {d}.", "If you want to {d}, ask an expert.", "The {t} comes from abroad.",
        "You should {d} at least once a year.", "They talked about the {t} and the {u} all evening.",
    ],
}


def everyday():
    """(topic, role, text)"""
    topics = read_topics()
    chance = random.Random(SEED)
    for topic in topics:
        name = topic["name"]
        yield from ((name, "document", text) for text in topic["said"])
        yield from ((name, "query", text) for text in topic["asked"])
        for _ in range(PER_TOPIC):
            other = chance.choice(topics) if chance.random() < ELSEWHERE else topic
            (t, w), (d, e) = chance.sample(topic["things"], 2), chance.sample(topic["doing"], 2)
            u = chance.choice([thing for thing in other["things"] if thing not in (t, w)])
            words = {"topic": name, "t": t, "T": t.capitalize(), "u": u, "w": w, "d": d, "D": d.capitalize(), "e": e}
            role = chance.choice(list(TEMPLATES))
            yield name, role, with_articles(chance.choice(TEMPLATES[role]).format(**words))


def read_topics():
    topics = []
    for block in (HERE / "everyday.txt").read_text(encoding="utf-8").split("\n\n"):
        name, *lines = block.strip().splitlines()
        lists = dict(line.split(": ", 1) for line in lines)
        topics.append({
            "name": name.removeprefix("# "),
            "things": lists["things"].split(", "),
            "doing": lists["doing"].split("; "),
            "said": re.findall(r"[^.]+\.", lists["said"]),
            "asked": lists["asked"].split("; "),
        })
    return topics


def with_articles(text):
    return re.sub(r"\ba(?= [aeiou])", "an", text)
