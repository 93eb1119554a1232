#!/bin/sh
# Regenerates the fixtures and the built-in model's golden vectors with the pinned reference and compares them with the
# committed ones. The built-in model itself is trained: models/train.
# VENV names the virtual environment to make or use (default: .venv in the repository root).
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
export HF_HUB_OFFLINE=1 PYTHONDONTWRITEBYTECODE=1

. "$root/scripts/lib/reference-venv.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" "$root/models/make_fixtures.py" --out "$work/parity" >"$work/log"
cp -r "$root/models/tiny" "$work/tiny"
rm "$work/tiny/golden.json"
"$python" "$root/models/golden.py" --model "$work/tiny" >>"$work/log"
"$python" "$root/models/make_onnx_fixtures.py" --out "$work/onnx" >>"$work/log"
"$python" "$root/models/compare.py" \
    "$root/tests/fixtures/parity" "$work/parity" \
    "$root/models/tiny" "$work/tiny" \
    "$root/tests/fixtures/onnx" "$work/onnx"
