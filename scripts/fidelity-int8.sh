#!/bin/sh
# Compares int8 vectors with f32 ones, on a random checkpoint of the 0.6B's true shape and on one with
# planted outliers. That f32 equals transformers is shown by `parity-full-size.sh 0.6b f32 onnx`.
#
# Usage: scripts/fidelity-int8.sh     (needs 5 GB of disk and 6 GB of memory). WORK keeps the
# checkpoints and the quantised weights between runs, VENV the virtual environment.
set -eu
cd "$(dirname "$0")/.."
root=$PWD

work=${WORK:-target/full-size}
export QWEN3_QUANTIZED_CACHE="$work/quantized"

. "$root/scripts/lib/reference-venv.sh"
mkdir -p "$work"
[ -d "$work/0.6b" ] ||
    "$python" models/make_checkpoint.py --shape 0.6b --tokenizer models/tiny "$work/0.6b"
[ -d "$work/0.6b-planted" ] ||
    "$python" models/plant_outliers.py "$work/0.6b" "$work/0.6b-planted"

# Half of the sequences begin with the token that the outliers answer to.
"$python" - >"$work/sequences.txt" <<'PYTHON'
import random

generator = random.Random(11)
for index, length in enumerate((5, 16, 16, 33, 48, 48, 100, 100)):
    ids = [generator.randrange(151643) for _ in range(length)]
    if index % 2:
        ids[0] = 9707
    print(*ids, 151643, sep=",")
PYTHON

set --
while read -r ids; do set -- "$@" --token-ids "$ids"; done <"$work/sequences.txt"
for name in 0.6b 0.6b-planted; do
    for precision in f32 int8; do
        cargo run --release --locked --quiet --no-default-features --features onnx -- embed \
            --model "$work/$name" --backend onnx --device cpu --precision "$precision" \
            --no-normalize "$@" --output "$work/fidelity-$name-$precision.json"
    done
    "$python" - "$work/fidelity-$name" <<'PYTHON'
import json
import sys

import numpy

f32, int8 = (json.load(open(f"{sys.argv[1]}-{precision}.json")) for precision in ("f32", "int8"))
assert [side["backend"]["precision"] for side in (f32, int8)] == ["f32", "int8"]
print(f"{int8['model']}: {int8['backend']['reason']}")
cosines = []
for tokens, *pair in zip(int8["tokens"], f32["embeddings"], int8["embeddings"], strict=True):
    a, b = map(numpy.array, pair)
    cosines.append(float(a @ b / numpy.linalg.norm(a) / numpy.linalg.norm(b)))
    print(f"  {tokens} tokens: cosine {cosines[-1]:.5f}")
print(f"{int8['model']}: least cosine {min(cosines):.5f}")
if not min(cosines) >= 0.99:
    sys.exit("expected a cosine of at least 0.99")
PYTHON
done
