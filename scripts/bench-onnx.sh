#!/bin/sh
# ONNX Runtime on a random checkpoint of the true 0.6B shape: our times and memory, the same model as
# graphs written by hand in Python, and the ways to attend, each in turns in one run.
#
# Usage: scripts/bench-onnx.sh [LAYERS]      (28; 1.2 GB of disk and 12 GB of memory, in proportion to
# the layers). WORK keeps the checkpoint between runs, VENV the virtual environment.
set -eu
cd "$(dirname "$0")/.."
root=$PWD

layers=${1:-28}
work=${WORK:-target/full-size}
checkpoint=$work/0.6b
[ "$layers" = 28 ] || checkpoint=$checkpoint-$layers

. "$root/scripts/lib/reference-venv.sh"
"$python" -m pip install --quiet --disable-pip-version-check --requirement benches/requirements.txt
mkdir -p "$work"
[ -d "$checkpoint" ] ||
    "$python" models/make_checkpoint.py --shape 0.6b --layers "$layers" --tokenizer models/tiny "$checkpoint"
export QWEN3_BENCH_CHECKPOINT="$checkpoint" ORT_DISABLE_TELEMETRY=1
cargo bench --locked --no-default-features --features onnx --bench onnx
"$python" benches/hand_written.py "$checkpoint" \
    cargo bench --locked --quiet --no-default-features --features onnx --bench onnx --
"$python" benches/attention.py cargo bench --locked --quiet --package kernels --bench attention --
