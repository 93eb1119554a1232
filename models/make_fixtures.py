"""Writes the parity fixtures: small Qwen3 checkpoints of many shapes, each with golden vectors."""

import argparse
import shutil
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy

from common import (
    Reference,
    Scale,
    Shape,
    Tensor,
    middle_config,
    model_tensors,
    new_config,
    old_config,
    read_shape,
    write_golden,
    write_json,
    write_weights,
)

OUT = Path(__file__).parent.parent / "tests" / "fixtures" / "parity"
LENGTHS = (1, 2, 3, 7, 7, 17, 33, 65)
STYLES = {"old": old_config, "middle": middle_config, "new": new_config}

# The special tokens of the released 0.6B end its vocabulary: <|endoftext|> is the 26th id from the end.
EOS_FROM_END = 26


@dataclass(frozen=True)
class Fixture:
    """One checkpoint: how it is shaped, spread, spelled and stored."""

    name: str
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    hidden: int
    intermediate: int
    vocab: int
    theta: float = 1_000_000
    eps: float = 1e-6
    tied: bool = True
    lm_head: bool = False
    style: str = "old"
    architecture: str = "Qwen3ForCausalLM"
    prefix: str = ""
    shards: int = 1
    dtype: str = "bfloat16"
    scale: Scale = Scale()

    def shape(self):
        return Shape(
            vocab_size=self.vocab,
            hidden_size=self.hidden,
            intermediate_size=self.intermediate,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.kv_heads,
            head_dim=self.head_dim,
            max_position_embeddings=128,
            rms_norm_eps=self.eps,
            rope_theta=self.theta,
            tie_word_embeddings=self.tied,
        )

    def tensors(self):
        tensors = [(self.prefix + tensor.name, tensor) for tensor in model_tensors(self.shape(), self.scale)]
        if self.lm_head:
            # Tied: a second copy of the embedding, as some converters write it. Untied: values of its own.
            source = "embed_tokens.weight" if self.tied else "lm_head.weight"
            std = self.scale.embedding if self.tied else self.hidden**-0.5
            tensors.append(("lm_head.weight", Tensor(source, (self.vocab, self.hidden), std)))
        return tensors


MODEL = "model."
BASE = "Qwen3Model"
SMALL_EMBEDDING = Scale(embedding=0.02)
# Activations so small that RMSNorm's eps shows: in the block's input, and in the per-head query and key norms.
EPS_SHOWS = Scale(embedding=0.004, query_key=0.004)
LARGE_GAINS = Scale(embedding=0.02, large_gains=2)

FIXTURES = [
    # name, then layers, heads, KV heads, head_dim, hidden, intermediate, vocabulary
    Fixture("one-layer-one-head", 1, 1, 1, 16, 24, 40, 64, dtype="float32"),
    Fixture("one-layer-rope-1e4", 1, 2, 1, 32, 32, 48, 64, theta=1e4, style="new", dtype="float32"),
    Fixture("gqa-4-1", 2, 4, 1, 16, 40, 64, 96, style="new", prefix=MODEL),
    Fixture("gqa-4-2", 2, 4, 2, 16, 32, 48, 96, dtype="float32", scale=SMALL_EMBEDDING),
    Fixture("mha-4-4", 2, 4, 4, 8, 48, 80, 100, style="new", architecture=BASE, dtype="float16"),
    Fixture("head-dim-equals-ratio", 2, 4, 2, 16, 64, 96, 128, prefix=MODEL),
    Fixture("gqa-6-2", 2, 6, 2, 24, 40, 56, 151, theta=1e4, dtype="float16", scale=SMALL_EMBEDDING),
    Fixture("gqa-6-3", 3, 6, 3, 8, 32, 48, 77, style="new", prefix=MODEL, dtype="float32"),
    Fixture("gqa-8-2", 2, 8, 2, 16, 48, 64, 200, theta=5e6, shards=2, scale=SMALL_EMBEDDING),
    Fixture("gqa-8-4-five-layers", 5, 8, 4, 8, 32, 48, 96, style="new", prefix=MODEL),
    Fixture("gqa-14-2", 2, 14, 2, 8, 64, 80, 96, prefix=MODEL, dtype="float16", scale=LARGE_GAINS),
    Fixture("head-dim-8", 4, 2, 1, 8, 24, 32, 64, theta=1e4, eps=1e-5, style="new", architecture=BASE, dtype="float32"),
    Fixture("head-dim-64", 2, 2, 1, 64, 48, 64, 128, theta=5e6, style="new"),
    Fixture("head-dim-128", 2, 2, 1, 128, 32, 64, 128, prefix=MODEL),
    Fixture("head-dim-128-wide", 1, 4, 2, 128, 32, 48, 80, style="middle", dtype="float16"),
    Fixture("wide-hidden", 1, 2, 2, 24, 96, 64, 320, style="middle", prefix=MODEL, scale=SMALL_EMBEDDING),
    Fixture("untied", 2, 4, 2, 16, 32, 48, 90, tied=False, lm_head=True, prefix=MODEL, dtype="float32"),
    Fixture("untied-no-prefix", 2, 4, 2, 32, 48, 64, 128, tied=False, lm_head=True, style="new", theta=5e6),
    Fixture("untied-no-lm-head", 2, 2, 1, 32, 40, 64, 96, tied=False, style="new", architecture=BASE, shards=2),
    Fixture("tied-with-lm-head", 2, 4, 2, 16, 48, 72, 144, lm_head=True, prefix=MODEL, dtype="float16"),
    Fixture("three-shards", 4, 4, 2, 24, 32, 48, 128, style="middle", prefix=MODEL, shards=3),
    Fixture("three-shards-untied", 2, 6, 2, 16, 24, 32, 80, tied=False, lm_head=True, style="new",
            prefix=MODEL, shards=3, dtype="float32"),
    Fixture("eps-1e-5", 2, 4, 2, 16, 32, 48, 64, eps=1e-5, style="middle", dtype="float32", scale=EPS_SHOWS),
    Fixture("eps-1e-6", 2, 4, 2, 16, 32, 48, 64, style="new", prefix=MODEL, dtype="float32", scale=EPS_SHOWS),
    Fixture("large-gains", 3, 4, 2, 32, 64, 64, 96, scale=LARGE_GAINS),
    Fixture("large-gains-new", 2, 8, 2, 32, 32, 48, 96, theta=5e6, eps=1e-5, style="new", prefix=MODEL,
            shards=2, scale=LARGE_GAINS),
]


def sequences(fixture, seed):
    """Ids that cover both ends of the vocabulary; most end in EOS, some hold it elsewhere too, as pad ids would."""
    random = numpy.random.default_rng([seed, 1])
    eos = fixture.vocab - EOS_FROM_END
    drawn = [random.integers(0, fixture.vocab, length).tolist() for length in LENGTHS]
    for number, ids in enumerate(drawn):
        if number != 3:
            ids[-1] = eos
    drawn[3][0], drawn[4][0] = 0, fixture.vocab - 1
    drawn[5][8] = drawn[5][9] = eos
    # One token over and over: only the positions and the mask tell the rows apart.
    drawn[6][:-1] = [drawn[6][0]] * 32
    return drawn


def write_fixture(fixture, directory):
    seed = zlib.crc32(fixture.name.encode())
    directory.mkdir(parents=True)
    eos = fixture.vocab - EOS_FROM_END
    write_json(directory / "config.json", STYLES[fixture.style](fixture.shape(), fixture.dtype, eos, fixture.architecture))
    write_weights(directory, fixture.tensors(), fixture.dtype, seed, fixture.shards)

    assert read_shape(directory) == fixture.shape()
    reference = Reference(directory)
    drawn = sequences(fixture, seed)
    assert_attention_matters(fixture, reference, drawn[5])
    write_golden(directory / "golden.json", [reference.case(ids) for ids in drawn])


def assert_attention_matters(fixture, reference, ids):
    """The last row depends on the first token, so that a wrong mask or rotation cannot pass."""
    other = [(ids[0] + 1) % fixture.vocab] + ids[1:]
    change = (reference.hidden(ids) - reference.hidden(other)).abs().max().item()
    assert change > 1e-3, f"{fixture.name}: the first token changes the last row by {change} only"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT, help="folder to write (default: tests/fixtures/parity)")
    out = parser.parse_args().out
    shutil.rmtree(out, ignore_errors=True)
    for fixture in FIXTURES:
        write_fixture(fixture, out / fixture.name)
        print(fixture.name)


if __name__ == "__main__":
    main()
