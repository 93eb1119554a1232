"""Prepares the training text from Debian packages with permissive licences: work/texts.jsonl, one text per line.

Each line: the text, its role (query or document), its package, whether it is held out from training, and whether it is
natural (phrases are made here from templates, and single words are no texts). What comes from one dictionary entry or
one page is held out together, so that a held-out text has no sibling among the others.
"""

import gzip
import html
import json
import random
import re
import subprocess
import zlib
from pathlib import Path

from places import WORK

SEED = 20250605
HELD_OUT = 0.03
SHORTEST, LONGEST = 15, 240

# Package: (version in Debian 12, licence of what is read from it).
PACKAGES = {
    "wordnet-base": ("1:3.0-37", "WordNet 3.0"),
    "dict-jargon": ("4.4.7-3.1", "public domain"),
    "sqlite3-doc": ("3.40.1-2+deb12u2", "public domain"),
    "freebsd-manpages": ("12.2-1", "BSD-2-Clause, BSD-4-Clause"),
}

# WordNet's own classes of nouns that are mostly Latin names: kept when the word occurs in running text.
TAXONOMY = {"05", "20"}
RARE_KEPT = 0.5
# Manuals are long and much alike.
MANUALS_KEPT = 0.4

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


def main():
    random.seed(SEED)
    texts, seen = [], set()
    for package, reader in READERS:
        folder = unpacked(package)
        before = len(texts)
        for group, role, text in reader(folder):
            text = re.sub(r"\s+", " ", text).strip()
            if len(text) <= LONGEST and (role, text.lower()) not in seen and any(map(str.isalpha, text)):
                seen.add((role, text.lower()))
                texts.append({
                    "text": text,
                    "role": role,
                    "source": package,
                    "held_out": held_out(package, group),
                    "natural": not str(group).startswith((PHRASE, WORD)),
                })
        print(f"{package}: {len(texts) - before} texts")
    with open(WORK / "texts.jsonl", "w", encoding="utf-8") as file:
        file.writelines(json.dumps(text, ensure_ascii=False) + "\n" for text in texts)
    print(f"{len(texts)} texts, {sum(text['held_out'] for text in texts)} held out")


def unpacked(package):
    """The package's files, downloaded through apt once."""
    folder = WORK / "packages" / package
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        version = PACKAGES[package][0]
        subprocess.run(["apt-get", "download", "-qq", f"{package}={version}"], cwd=folder.parent, check=True)
        (archive,) = folder.parent.glob(f"{package}_*.deb")
        subprocess.run(["dpkg-deb", "--extract", archive, folder], check=True)
    return folder


def held_out(package, group):
    return zlib.crc32(f"{package} {group}".encode()) / 2**32 < HELD_OUT


def wordnet(folder):
    """Definitions, usage examples, questions about both, and phrases made of the frequent words."""
    folder = folder / "usr/share/wordnet"
    counts = word_counts(folder)
    frequent = {"n": [], "v": [], "a": []}
    for part in ("noun", "verb", "adj", "adv"):
        for line in open(folder / f"data.{part}", encoding="utf-8"):
            if not line.startswith("  "):
                entry = Entry(line, counts)
                if entry.common >= 3 and entry.kind in frequent and entry.word.isalpha():
                    frequent[entry.kind].append(entry.word)
                yield from entry.texts()
    yield from phrases(frequent)


def word_counts(folder):
    """How often each word was met in WordNet's tagged texts, all senses together."""
    counts = {}
    for line in open(folder / "cntlist.rev", encoding="utf-8"):
        key, _, count = line.split()
        word = key.split("%")[0]
        counts[word] = counts.get(word, 0) + int(count)
    return counts


class Entry:
    """One line of data.noun and its like: words, a definition, examples."""

    def __init__(self, line, counts):
        head, gloss = line.split("|", 1)
        fields = head.split()
        self.offset, self.file = fields[0], fields[1]
        self.kind = "a" if fields[2] == "s" else fields[2]
        words = [fields[4 + 2 * index].split("(")[0].replace("_", " ") for index in range(int(fields[3], 16))]
        self.common = max(counts.get(word.lower().replace(" ", "_"), 0) for word in words)
        self.words, self.word = words, words[0]
        self.examples = re.findall(r'"([^"]+)"', gloss)
        self.definition = re.sub(r'"[^"]*"(;|$)?', "", gloss).strip(" ;:\n")

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


def words(folder):
    """Single words and their plurals, and what can be done, asked for: cheap, and each names one meaning."""
    folder = folder / "usr/share/wordnet"
    counts = word_counts(folder)
    for part in ("noun", "verb", "adj"):
        for line in open(folder / f"data.{part}", encoding="utf-8"):
            if line.startswith("  "):
                continue
            entry = Entry(line, counts)
            for word in entry.words:
                if counts.get(word.lower().replace(" ", "_"), 0) >= 1 or entry.common >= 5:
                    yield f"{WORD} {word}", random.choice(["query", "document"]), word
                    if part == "noun" and word.islower() and random.random() < 0.5:
                        yield f"{WORD} {word}", random.choice(["query", "document"]), plural(word)
            if part == "verb" and entry.common >= 1 and len(entry.definition) <= 60:
                action = re.sub(r"\([^)]*\) ?", "", entry.definition.split(";")[0])
                yield f"v{entry.offset}", "query", random.choice(ASKED).format(v=action)


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


def jargon(folder):
    """The Jargon File: an entry is a headword, a word class and indented paragraphs."""
    with gzip.open(folder / "usr/share/dictd/jargon.dict.dz", "rt", encoding="utf-8") as file:
        entries = re.split(r"\n(?=\S)", file.read())
    for number, entry in enumerate(entries):
        headword, _, body = entry.partition("\n")
        found = list(sentences(re.sub(r"[{}]|\[[^\]]*\]", "", body)))
        yield from ((number, "document", text) for text in found)
        if found and len(headword) < 40:
            yield number, "query", f"what does {headword} mean"


def sqlite(folder):
    for path in sorted(folder.glob("usr/share/doc/sqlite3/**/*.html")):
        page = path.read_text(encoding="utf-8", errors="ignore")
        title = re.search(r"<title>(.*?)</title>", page, re.S)
        if title:
            yield path.name, "query", html.unescape(title[1])
        for paragraph in re.findall(r"<p>(.*?)(?=<p>|</p>|<h|<blockquote|<ul|<table|<div|<pre)", page, re.S | re.I):
            for text in sentences(html.unescape(re.sub(r"<[^>]*>", "", paragraph))):
                if random.random() < MANUALS_KEPT:
                    yield path.name, "document", text


def manual(folder):
    """mdoc sources: the one-line description, and sentences that no macro interrupts."""
    for path in sorted(folder.glob("usr/share/man/man*/*.gz")):
        if path.is_symlink():
            continue
        lines = gzip.decompress(path.read_bytes()).decode("utf-8", "ignore").splitlines()
        name = next((line[4:].strip(" ,") for line in lines if line.startswith(".Nm ")), None)
        description = next((line[4:].strip() for line in lines if line.startswith(".Nd ")), None)
        if not name or not description:
            continue
        yield path.name, "document", f"{name} - {description}"
        yield path.name, "query", random.choice(["{}", "how to {}", "which function is for {}?"]).format(description)
        plain = "\n".join("\n" if line.startswith(".") else line for line in lines)
        for block in plain.split("\n\n"):
            for text in sentences(block):
                if "\\" not in text and random.random() < MANUALS_KEPT:
                    yield path.name, "document", text


def sentences(text):
    text = re.sub(r"\s+", " ", text)
    for found in re.findall(r"(?:(?<=^)|(?<=[.!?] )|(?<=^ ))([A-Z][^.!?]*(?:[.!?](?! |$)[^.!?]*)*[.!?])(?= |$)", text):
        if 40 <= len(found) <= LONGEST and found.count(" ") >= 5:
            yield found


def sentence(text):
    return capital(text) + ("" if text[-1] in ".!?" else ".")


def capital(text):
    return text[:1].upper() + text[1:]


READERS = [
    ("wordnet-base", wordnet),
    ("dict-jargon", jargon),
    ("sqlite3-doc", sqlite),
    ("freebsd-manpages", manual),
    ("wordnet-base", words),
]

if __name__ == "__main__":
    main()
