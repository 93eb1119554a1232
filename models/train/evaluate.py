"""Measures a model: Spearman with the teacher's cosines on held-out pairs, and the hand-written retrieval sets.

Without --program the vectors are transformers' in f32. With it they come from the program, through the backend and in
the precision that are named: python models/train/evaluate.py --program target/release/qwen3-embed --backend onnx
"""

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path

import numpy
import torch
from tokenizers import Tokenizer

from places import HERE, TINY
from common import QUERY_PROMPT, Reference
from measure import spearman


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=TINY, help="model folder (default: models/tiny)")
    parser.add_argument("--program", type=Path, metavar="QWEN3-EMBED", help="take the vectors from this program")
    parser.add_argument("--backend", default="auto", help="backend of the program: mlx, onnx (default: auto)")
    parser.add_argument("--precision", default="f32", help="precision of the program (default: f32)")
    options = parser.parse_args()
    model = Program(options) if options.program else Transformers(options.model)
    print(model.name)
    pairs = json.loads((HERE / "pairs.json").read_text(encoding="utf-8"))
    sets = json.loads((HERE / "sets.json").read_text(encoding="utf-8"))
    print_correlations(model, pairs)
    print_top_one(model, sets)
    print_model_card(model, sets)


class Transformers:
    """transformers' Qwen3Model in f32."""

    def __init__(self, directory):
        self.name = "transformers, f32"
        self.reference = Reference(directory)
        self.tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))

    def embed(self, texts, query):
        prompt = QUERY_PROMPT if query else ""
        return torch.stack([self.reference.hidden(self.tokenizer.encode(prompt + text).ids) for text in texts])


class Program:
    """qwen3-embed, on a backend and in a precision."""

    def __init__(self, options):
        self.name = f"{options.program.name}, {options.backend}, {options.precision}"
        self.command = [
            options.program, "embed", "--model", options.model, "--backend", options.backend,
            "--precision", options.precision, "--format", "npy", "--no-normalize",
        ]

    def embed(self, texts, query):
        with tempfile.TemporaryDirectory() as folder:
            lines, vectors = Path(folder, "texts.jsonl"), Path(folder, "vectors.npy")
            lines.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
            role = ["--query"] if query else []
            command = [*self.command, *role, "--input", lines, "--output", vectors]
            subprocess.run(command, check=True, env=os.environ | {"QWEN3_EMBED_LOG": "error"})
            return torch.from_numpy(numpy.load(vectors))


def print_correlations(model, pairs):
    texts = pairs["texts"]
    vectors = torch.empty(0)
    for query in (True, False):
        rows = [row for row, (role, _) in enumerate(texts) if (role == "query") == query]
        found = model.embed([texts[row][1] for row in rows], query)
        if not len(vectors):
            vectors = torch.empty(len(texts), found.shape[1])
        vectors[rows] = found
    kinds = {kind: torch.tensor(pairs[kind]) for kind in ("ranked", "random")}
    kinds["all"] = torch.cat(list(kinds.values()))
    for size in sizes(vectors):
        unit = torch.nn.functional.normalize(vectors[:, :size], dim=-1)
        figures = []
        for kind, rows in kinds.items():
            first, second = rows[:, 0].long(), rows[:, 1].long()
            figures.append(f"{kind} {spearman((unit[first] * unit[second]).sum(1), rows[:, 2]):.4f}")
        print(f"  Spearman, {size} dimensions, {len(kinds['all'])} pairs: {', '.join(figures)}")


def print_top_one(model, sets):
    queries = model.embed([one["query"] for one in sets], True)
    documents = model.embed([text for one in sets for text in [one["right"], *one["wrong"]]], False)
    documents = documents.view(len(sets), -1, documents.shape[1])
    for size in sizes(queries):
        scores = similarities(queries[:, None], documents, size)
        wrong = [one["query"] for one, best in zip(sets, scores.argmax(1)) if best != 0]
        missed = f"; missed: {'; '.join(wrong)}" if wrong else ""
        print(f"  top-1, {size} dimensions: {len(sets) - len(wrong)} of {len(sets)}{missed}")


def print_model_card(model, sets):
    """The first two sets hold the two queries and the two documents of the released models' card."""
    queries = model.embed([one["query"] for one in sets[:2]], True)
    documents = model.embed([one["right"] for one in sets[:2]], False)
    scores = similarities(queries[:, None], documents[None], queries.shape[1])
    order = "right" if (scores.argmax(1) == torch.arange(2)).all() else "WRONG"
    print(f"  model card: {order} order, {[[round(score, 4) for score in row] for row in scores.tolist()]}")


def similarities(left, right, size):
    return torch.nn.functional.cosine_similarity(left[..., :size], right[..., :size], dim=-1)


def sizes(vectors):
    return [vectors.shape[1] // divisor for divisor in (1, 2, 4, 8)]


if __name__ == "__main__":
    main()
