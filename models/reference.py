"""Runs the reference, transformers in f32, on a checkpoint and writes golden.json: full-size parity on demand."""

import argparse
from pathlib import Path

from common import Reference, write_golden


def sequence(text):
    return [int(token) for token in text.replace(",", " ").split()]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="folder with config.json and safetensors")
    parser.add_argument("--ids", type=sequence, nargs="+", default=[], metavar="1,2,3", help="sequences of token ids")
    parser.add_argument("--ids-file", type=Path, metavar="F", help="a file with one sequence per line")
    parser.add_argument("--out", type=Path, required=True, help="golden.json to write")
    options = parser.parse_args()
    sequences = options.ids
    if options.ids_file:
        sequences += [sequence(line) for line in options.ids_file.read_text().splitlines() if line.strip()]
    if not sequences or not all(sequences):
        parser.error("give at least one sequence, none of them empty, with --ids or --ids-file")

    reference = Reference(options.checkpoint)
    write_golden(options.out, [reference.case(ids) for ids in sequences])


if __name__ == "__main__":
    main()
