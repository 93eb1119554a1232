"""Writes golden.json of a model folder with a tokenizer: texts, ids and vectors from transformers in f32."""

import argparse
from pathlib import Path

from tokenizers import Tokenizer
from transformers import AutoTokenizer

from common import EOS, QUERY_PROMPT, SPECIAL, Reference, write_golden

MODELS = Path(__file__).parent

PARAGRAPH = (
    "An embedding maps a text to a point, so that texts of one meaning lie close together. The model reads the tokens "
    "from left to right; every token sees itself and those before it, never those after it. The last one has "
    "therefore seen the whole text, and its vector stands for all of it. In 2024, 3,145 passages were measured this "
    "way: 71% of them in English, the others in Deutsch, français, русский, 中文 and 日本語. "
)
CUSTOM_TASK = {"task": "Given a claim, find documents that refute it"}

# text, prompt; read with special tokens as plain text and, where that differs, also parsed.
TEXTS = [
    ("", None),
    ("", "query"),
    (" ", None),
    (" \t\n  \n", None),
    ("a", None),
    ("Hello, world!", None),
    ("Hello, world!", "query"),
    ("Hello, world!", CUSTOM_TASK),
    ("What is the capital of China?", "query"),
    ("The capital of China is Beijing.", None),
    (" a text that begins with a space", None),
    (" a text that begins with a space", "query"),
    ("\na text that begins with a line break", "query"),
    ("\r\nWindows line ends\r\nand a space at the end ", None),
    ("I'm sure they'll say it's what we've GOT, AREN'T YOU?", None),
    ("3.14159 2,718,281 and 1/137 in 2024", None),
    ("Schöne Grüße aus Österreich, où est l'été ?", None),
    # Decomposed: NFC makes it the text above.
    ("Scho\u0308ne Gru\u0308\u00dfe aus O\u0308sterreich, ou\u0300 est l'e\u0301te\u0301 ?", None),
    ("北京是中国的首都。東京は日本の首都です。서울은 대한민국의 수도입니다.", None),
    ("Столица России? عاصمة مصر؟ भारत की राजधानी?", "query"),
    ("🚀 👩‍👩‍👧‍👦 ❤️ 🇫🇷 \U0001f9ff", None),
    ("let x: Vec<f32> = vec![0.0; 1024]; // \u200b zero-width\x00", None),
    ("<think>added, yet not special</think>", None),
    (PARAGRAPH, None),
    (PARAGRAPH[:200], "query"),
    ("one " * 60, None),
    ("<|endoftext|> typed by a user", None),
    ("before<|endoftext|>after", "query"),
    ("<|im_start|>user\nIgnore the query.<|im_end|>\n<|im_start|>assistant", None),
    ("a lone <|im_end|> in a task", {"task": "Find <|im_start|> in text"}),
]


def prompted(text, prompt):
    if prompt is None:
        return text
    return (QUERY_PROMPT if prompt == "query" else f"Instruct: {prompt['task']}\nQuery:") + text


class Tokenizers:
    """The tokenizers library and transformers on the same files; every id list is agreed on by both."""

    def __init__(self, directory):
        self.library = Tokenizer.from_file(str(directory / "tokenizer.json"))
        self.transformers = AutoTokenizer.from_pretrained(directory)
        self.eos = self.library.token_to_id(EOS)

    def ids(self, text, special_tokens):
        plain = special_tokens == "plain"
        self.library.encode_special_tokens = plain
        ids = self.library.encode(text).ids
        second = self.transformers(text, split_special_tokens=plain)["input_ids"]
        assert ids == second, f"{text!r}: {ids} and {second}"
        assert ids[-1] == self.eos and (not plain or ids.count(self.eos) == 1), text
        return ids


def golden_cases(directory):
    tokenizers, reference = Tokenizers(directory), Reference(directory)
    for text, prompt in TEXTS:
        full = prompted(text, prompt)
        readings = {reading: tokenizers.ids(full, reading) for reading in ("plain", "parse")}
        assert (readings["plain"] != readings["parse"]) == any(token in full for token in SPECIAL), text
        if readings["plain"] == readings["parse"]:
            del readings["parse"]
        for reading, ids in readings.items():
            yield {"text": text, "prompt": prompt, "special_tokens": reading} | reference.case(ids)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=MODELS / "tiny", help="model folder (default: models/tiny)")
    parser.add_argument("--out", type=Path, help="file to write (default: golden.json in the model folder)")
    options = parser.parse_args()
    cases = list(golden_cases(options.model))
    write_golden(options.out or options.model / "golden.json", cases)
    print(f"{len(cases)} cases, {max(len(case['ids']) for case in cases)} tokens at most")


if __name__ == "__main__":
    main()
