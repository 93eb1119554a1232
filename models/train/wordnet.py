"""Reads WordNet: definitions, examples, questions about both, single words, phrases made of the frequent ones."""

import random
import re

# Shorter definitions and examples, and longer texts of any source, are left out.
SHORTEST, LONGEST = 15, 240

# WordNet's own classes of nouns that are mostly Latin names: kept when the word occurs in running text.
TAXONOMY = {"05", "20"}
RARE_KEPT = 0.5

LOOK_UP = [
    "what is {a}?", "What is {a}?", "What does {w} mean?", "meaning of {w}", "define {w}", "{w}", "{w}",
    "definition of {w}", "Tell me about {w}", "information about {w}", "{W}", "Describe {a}.",
]
DESCRIBED = ["What do you call {g}?", "word for {g}", "{g}", "Which word means {g}?", "name for {g}"]
EXPLAINED = ["{W} is {g}.", "{W}: {g}.", "{W} means {g}.", "{W} - {g}", "{G}."]
ASKED = ["how to {v}", "How do I {v}?", "what is the best way to {v}", "I want to {v}", "Why would you {v}?"]
PHRASES = {
    "query": [
        "how to {v} {n}", "How can I {v} my {n}?", "why does {n} {v}?", "{j} {n}", "{n} for {m}",
        "where to find {j} {n}",
        "difference between {n} and {m}", "What is the best {n} for {m}?", "causes of {n}", "Who invented the {n}?",
        "Is {n} {j}?", "history of {n}", "{n} and {m}", "buy {j} {n}", "how much does {n} cost", "problem with {n}",
        "Where do I get {n}?", "{v} {n} without {m}", "When should you {v} {n}?", "{j} {n} near {m}", "care of {j} {n}",
        "is it possible to {v} {n}", "what happens if you {v} {n}", "which {n} has {j} {m}", "How long does {n} last?",
    ],
    "document": [
        "The {n} is {j}.", "{N} is used to {v} {m}.", "They {v} the {n} with {m}.", "Every {n} needs {j} {m}.",
        "You should {v} the {n} before the {m}.", "{N} and {m} are often {j}.", "It takes {j} {n} to {v} {m}.",
        "People who {v} {n} also like {m}.", "The {j} {n} of the {m} was lost.", "Without {n} there is no {m}.",
        "She wanted to {v} the {j} {n}.", "In summer, the {n} can {v} near the {m}.", "We sell {n}, {m} and {k}.",
        "First {v} the {n}, then add the {m}.", "The {n} was replaced by {j} {m} and {k}.",
    ],
}
PHRASE, WORD = "phrase", "word"
PHRASE_COUNTS = {"query": 24_000, "document": 16_000}


class Wordnet:
    """All entries, in the order of the files."""

    def __init__(self, folder):
        self.folder = folder / "usr/share/wordnet"
        self.counts = self._counts()
        self.nouns, *others = (self._entries(part) for part in ("noun", "verb", "adj", "adv"))
        self.verbs, self.adjectives, self.adverbs = others

    def _counts(self):
        """How often each word was met in WordNet's tagged texts, all senses together."""
        counts = {}
        for line in open(self.folder / "cntlist.rev", encoding="utf-8"):
            key, _, count = line.split()
            word = key.split("%")[0]
            counts[word] = counts.get(word, 0) + int(count)
        return counts

    def _entries(self, part):
        with open(self.folder / f"data.{part}", encoding="utf-8") as file:
            return [Entry(line, self.counts) for line in file if not line.startswith("  ")]

    def texts(self):
        """Definitions, usage examples, questions about both, and phrases made of the frequent words."""
        frequent = {"n": [], "v": [], "a": []}
        for entry in [*self.nouns, *self.verbs, *self.adjectives, *self.adverbs]:
            if entry.common >= 3 and entry.kind in frequent and entry.word.isalpha():
                frequent[entry.kind].append(entry.word)
            yield from entry.texts()
        yield from phrases(frequent)

    def words(self):
        """Single words and their plurals, and what can be done, asked for: cheap, and each names one meaning."""
        for entry in [*self.nouns, *self.verbs, *self.adjectives]:
            for word in entry.words:
                if self.counts.get(word.lower().replace(" ", "_"), 0) >= 1 or entry.common >= 5:
                    yield f"{WORD} {word}", random.choice(["query", "document"]), word
                    if entry.kind == "n" and word.islower() and random.random() < 0.5:
                        yield f"{WORD} {word}", random.choice(["query", "document"]), plural(word)
            if entry.kind == "v" and entry.common >= 1 and len(entry.definition) <= 60:
                action = re.sub(r"\([^)]*\) ?", "", entry.definition.split(";")[0])
                yield f"v{entry.offset}", "query", random.choice(ASKED).format(v=action)


class Entry:
    """One line of data.noun and its like: words, a definition, examples, relations."""

    def __init__(self, line, counts):
        head, gloss = line.split("|", 1)
        fields = head.split()
        self.offset, self.file = fields[0], fields[1]
        self.kind = "a" if fields[2] == "s" else fields[2]
        count = int(fields[3], 16)
        words = [fields[4 + 2 * index].split("(")[0].replace("_", " ") for index in range(count)]
        self.common = max(counts.get(word.lower().replace(" ", "_"), 0) for word in words)
        self.words, self.word = words, words[0]
        self.examples = re.findall(r'"([^"]+)"', gloss)
        self.definition = re.sub(r'"[^"]*"(;|$)?', "", gloss).strip(" ;:\n")
        # By symbol, the offsets of other entries of this kind; after the words, four fields each.
        self.pointers = {}
        for symbol, offset, kind in zip(*(fields[5 + 2 * count + index :: 4] for index in range(3))):
            if kind == self.kind:
                self.pointers.setdefault(symbol, []).append(offset)

    def texts(self):
        if self.common == 0 and (self.file in TAXONOMY and self.kind == "n" or random.random() > RARE_KEPT):
            return
        group = self.kind + self.offset
        word = random.choice(self.words)
        if len(self.definition) >= SHORTEST:
            yield group, "document", self.filled(random.choice(EXPLAINED), word)
            if self.kind == "n" and (self.common or random.random() < 0.3):
                yield group, "query", self.filled(random.choice(LOOK_UP), word)
            elif random.random() < 0.25:
                yield group, "query", self.filled(random.choice(DESCRIBED), word)
            if self.examples and random.random() < 0.25:
                explained = sentence(self.filled(random.choice(EXPLAINED), word))
                yield group, "document", f"{explained} {sentence(self.examples[0])}"
        for example in self.examples:
            if len(example) >= SHORTEST:
                yield group, "document", sentence(example) if random.random() < 0.6 else example
            if len(example) >= SHORTEST and random.random() < 0.15:
                yield group, "query", example

    def filled(self, template, word):
        article = word if word[0].isupper() else f"{'an' if word[0] in 'aeiou' else 'a'} {word}"
        return template.format(
            w=word, W=capital(word), a=article, g=self.definition, G=capital(self.definition)
        )


def plural(word):
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("s", "x", "z", "ch", "sh")) else "s")


def phrases(frequent):
    for role, templates in PHRASES.items():
        for number in range(PHRASE_COUNTS[role]):
            n, m, k = random.sample(frequent["n"], 3)
            words = {"n": n, "N": capital(n), "m": m, "k": k}
            words |= {"v": random.choice(frequent["v"]), "j": random.choice(frequent["a"])}
            yield f"{PHRASE} {role} {number}", role, random.choice(templates).format(**words)


def sentence(text):
    return capital(text) + ("" if text[-1] in ".!?" else ".")


def capital(text):
    return text[:1].upper() + text[1:]
