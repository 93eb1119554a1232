#!/bin/sh
# Exports all-MiniLM-L6-v2, which a Python package holds, to ONNX, embeds texts with it and compares
# with the package's own vectors. Needs 700 MB of disk beside the reference's virtual environment.
# VENV names the virtual environment to make or use (default: .venv in the repository root).
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
export HF_HUB_OFFLINE=1 PYTHONDONTWRITEBYTECODE=1

. "$root/scripts/lib/reference-venv.sh"
"$python" -m pip install --quiet --disable-pip-version-check --requirement "$root/models/requirements-minilm.txt"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" "$root/models/minilm.py" "$work" >"$work/log" 2>&1 || { cat "$work/log" && exit 1; }
cd "$root"
cargo run --locked --quiet -- embed --model "$work" --device cpu --truncate end \
    --input "$work/texts.jsonl" --format npy --output "$work/found.npy"
"$python" "$root/models/minilm.py" "$work" --compare "$work/found.npy"
