#!/bin/sh
# Regenerates the quantised fixtures with the pinned mlx-lm and compares them with the committed ones; shows that what
# `qwen3-embed quantize` writes is what mlx-lm would; prints the kernels of a layer beside mlx-lm's.
# VENV names the virtual environment to make or use (default: .venv-mlx in the repository root).
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
export HF_HUB_OFFLINE=1 PYTHONDONTWRITEBYTECODE=1

VENV=${VENV:-$root/.venv-mlx}
requirements=requirements-mlx.txt
. "$root/scripts/lib/reference-venv.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" "$root/models/make_mlx_fixtures.py" --out "$work/mlx" >"$work/log"
"$python" "$root/models/compare.py" "$root/tests/fixtures/mlx" "$work/mlx"
cd "$root"
cargo build --locked --quiet -p qwen3-embed
"$python" "$root/models/check_mlx_quantize.py" "${CARGO_TARGET_DIR:-target}/debug/qwen3-embed"
"$python" "$root/models/mlx_launches.py"
