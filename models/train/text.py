"""Prepares the training text, from Debian packages with permissive licences and from lists: work/texts.jsonl.

One text per line: the text, its role (query or document), its source, whether it is held out from training, whether it
is natural (not made from a template or a relation, nor a single word), and whether the last phase reads it, which reads
all of world/ and a share of the rest. What comes from one dictionary entry or one page is held out together, so that a
held-out text has no sibling among the others. With --last only what the last phase reads is written.
"""

import argparse
import gzip
import html
import json
import random
import re
import subprocess
import zlib
from pathlib import Path

from everyday import everyday
from pieces import pieces
from places import HERE, WORK
from recipe import LAST_SHARE
from relations import relations
from wordnet import LONGEST, PHRASE, WORD, Wordnet
from world import world

SEED = 20250605
HELD_OUT = 0.03
# Words in a row that no text for training shares with a text of sets.json.
BARRED = 4

# Package: (version in Debian 12, licence of what is read from it).
PACKAGES = {
    "wordnet-base": ("1:3.0-37", "WordNet 3.0"),
    "dict-jargon": ("4.4.7-3.1", "public domain"),
    "sqlite3-doc": ("3.40.1-2+deb12u2", "public domain"),
    "freebsd-manpages": ("12.2-1", "BSD-2-Clause, BSD-4-Clause"),
}

# The source that the last phase reads whole.
WORLD = "world"

# Manuals are long and much alike.
MANUALS_KEPT = 0.4


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--last", action="store_true", help="write only what the last phase reads")
    only_last = parser.parse_args().last
    random.seed(SEED)
    texts = Texts()
    wordnet = Wordnet(unpacked("wordnet-base"))
    texts.add("wordnet-base", wordnet.texts())
    texts.add("dict-jargon", jargon(unpacked("dict-jargon")))
    texts.add("sqlite3-doc", sqlite(unpacked("sqlite3-doc")))
    texts.add("freebsd-manpages", manual(unpacked("freebsd-manpages")))
    texts.add("wordnet-base", wordnet.words())
    texts.add("wordnet-base", relations(wordnet.nouns), natural=False)
    texts.add("everyday.txt", everyday(), natural=False)
    texts.add("pieces", pieces(texts.for_pieces()), natural=False)
    texts.add(WORLD, world(), natural=False)
    listed = [text for text in texts.listed if text["last"] or not only_last]
    with open(WORK / "texts.jsonl", "w", encoding="utf-8") as file:
        file.writelines(json.dumps(text, ensure_ascii=False) + "\n" for text in listed)
    print(f"{len(listed)} texts, {sum(text['held_out'] for text in listed)} held out")


class Texts:
    """The texts so far: each once in a role, none of them for training if it is close to one of the sets."""

    def __init__(self):
        self.listed, self.seen = [], set()
        sets = json.loads((HERE / "sets.json").read_text(encoding="utf-8"))
        barred = [text for one in sets for text in [one["query"], one["right"], *one["wrong"]]]
        self.barred = {run for text in barred for run in runs(text)}

    def add(self, source, found, natural=True):
        before = len(self.listed)
        for group, role, text in found:
            text = re.sub(r"\s+", " ", text).strip()
            if len(text) <= LONGEST and (role, text.lower()) not in self.seen and any(map(str.isalpha, text)):
                self.seen.add((role, text.lower()))
                self._add(source, group, role, text, natural)
        print(f"{source}: {len(self.listed) - before} texts")

    def _add(self, source, group, role, text, natural):
        held_out = share(f"{source} {group}") < HELD_OUT
        if held_out or self.barred.isdisjoint(runs(text)):
            natural = natural and not str(group).startswith((PHRASE, WORD))
            last = source == WORLD or share(f"{role} {text}") < LAST_SHARE
            self.listed.append({
                "text": text, "role": role, "source": source, "held_out": held_out, "natural": natural, "last": last,
            })

    def for_pieces(self):
        return [
            text["text"] for text in self.listed
            if text["source"] == "wordnet-base" and text["natural"] and not text["held_out"]
        ]


def share(name):
    """A number from 0 to 1 that is always the same for a name."""
    return zlib.crc32(name.encode()) / 2**32


def runs(text):
    """Every BARRED words in a row; a shorter text as a whole."""
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[start : start + BARRED]) for start in range(max(1, len(words) - BARRED + 1))}


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


if __name__ == "__main__":
    main()
