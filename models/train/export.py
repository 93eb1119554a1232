"""Writes the trained student to models/tiny in the released models' file layout, its weights rounded to bf16."""

import argparse
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from places import TINY, WORK
from common import EOS, old_config, write_json, write_sentence_transformers
from recipe import SHAPE
from tokens import tokenizer_config


def export(out):
    state = torch.load(WORK / "student.pt")["student"]
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    weights = {name: weight.to(torch.bfloat16).contiguous() for name, weight in sorted(state.items())}
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    # The library writes it for its owner alone.
    (out / "model.safetensors").chmod(0o644)
    shutil.copy(WORK / "tokenizer.json", out / "tokenizer.json")
    tokenizer = Tokenizer.from_file(str(out / "tokenizer.json"))
    write_json(out / "config.json", old_config(SHAPE, "bfloat16", tokenizer.token_to_id(EOS)))
    write_json(out / "tokenizer_config.json", tokenizer_config(tokenizer))
    write_sentence_transformers(out, SHAPE.hidden_size)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=TINY, help="folder to write (default: models/tiny)")
    export(parser.parse_args().out)


if __name__ == "__main__":
    main()
