"""Writes a checkpoint of a released model's true shape, in its format, with random weights: for speed and parity."""

import argparse
import shutil
from dataclasses import replace
from pathlib import Path

from common import Scale, Shape, model_tensors, old_config, write_json, write_sentence_transformers, write_weights

EOS = 151643
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
)


def released(vocab, hidden, intermediate, layers, heads, context, tied):
    return Shape(
        vocab_size=vocab,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=context,
        rms_norm_eps=1e-6,
        rope_theta=1_000_000,
        tie_word_embeddings=tied,
    )


# Shape and number of files. The released 8B is untied, yet has no lm_head: an embedding needs none.
RELEASED = {
    "0.6b": (released(151669, 1024, 3072, 28, 16, 32768, True), 1),
    "4b": (released(151665, 2560, 9728, 36, 32, 40960, True), 2),
    "8b": (released(151665, 4096, 12288, 36, 32, 40960, False), 4),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to make; must not exist")
    parser.add_argument("--shape", choices=RELEASED, required=True)
    parser.add_argument("--tokenizer", type=Path, metavar="DIR", help="copy the tokenizer files found here")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--layers", type=int, help="fewer layers than released, for a smaller file")
    options = parser.parse_args()
    if options.out.exists():
        parser.error(f"{options.out} exists")
    if options.tokenizer and not (options.tokenizer / "tokenizer.json").is_file():
        parser.error(f"{options.tokenizer} holds no tokenizer.json")

    shape, shards = RELEASED[options.shape]
    if options.layers:
        shape = replace(shape, num_hidden_layers=options.layers)
    write_json(options.out / "config.json", old_config(shape, "bfloat16", EOS))
    tensors = [(tensor.name, tensor) for tensor in model_tensors(shape, Scale(embedding=0.02))]
    write_weights(options.out, tensors, "bfloat16", options.seed, shards)
    write_sentence_transformers(options.out, shape.hidden_size)
    if options.tokenizer:
        for path in (options.tokenizer / name for name in TOKENIZER_FILES):
            if path.is_file():
                shutil.copyfile(path, options.out / path.name)
    for path in sorted(options.out.rglob("*")):
        if path.is_file():
            print(f"{path.stat().st_size:>14,}  {path.relative_to(options.out)}")


if __name__ == "__main__":
    main()
