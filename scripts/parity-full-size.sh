#!/bin/sh
# Compares vectors of a random checkpoint of a released model's true shape with transformers in f32.
#
# Usage: scripts/parity-full-size.sh [SHAPE] [PRECISION] [BACKEND]      (0.6b f32 mlx; needs 1.2 GB
# of disk and 5 GB of memory for 0.6b). WORK keeps the checkpoint between runs, VENV the virtual
# environment.
set -eu
cd "$(dirname "$0")/.."
root=$PWD

shape=${1:-0.6b}
precision=${2:-f32}
backend=${3:-mlx}
work=${WORK:-target/full-size}
checkpoint=$work/$shape
first=9707,11,1879,0,151643
second=785,3974,13876,38835,34208,916,279,15678,5562,13,151643

. "$root/scripts/lib/reference-venv.sh"
mkdir -p "$work"
[ -d "$checkpoint" ] ||
    "$python" models/make_checkpoint.py --shape "$shape" --tokenizer models/tiny "$checkpoint"
"$python" models/reference.py "$checkpoint" --ids "$first" "$second" \
    --out "$work/golden-$shape.json"
cargo run --release --locked --quiet -- embed --model "$checkpoint" --device cpu --backend "$backend" \
    --precision "$precision" --no-normalize --token-ids "$first" --token-ids "$second" \
    --output "$work/vectors-$shape-$precision-$backend.json"
"$python" - "$work/golden-$shape.json" "$work/vectors-$shape-$precision-$backend.json" <<'PYTHON'
import json
import sys

import numpy

golden, vectors = (json.load(open(path)) for path in sys.argv[1:])
least = 0.99999 if vectors["backend"]["precision"] == "f32" else 0.999
for case, vector in zip(golden["cases"], vectors["embeddings"], strict=True):
    a, b = numpy.array(case["hidden"]), numpy.array(vector)
    a, b = a / numpy.linalg.norm(a), b / numpy.linalg.norm(b)
    cosine, error = float(a @ b), float(abs(a - b).max())
    print(f"{len(case['ids'])} tokens: cosine {cosine:.7f}, max abs error {error:.2e}")
    if cosine < least or (least > 0.999 and error > 1e-4):
        sys.exit(f"expected a cosine of at least {least} and, in f32, an error of at most 1e-4")
PYTHON
