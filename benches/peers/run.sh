#!/bin/sh
# Sets up what one would run instead of us and runs it beside us on a random checkpoint of the true 0.6B
# shape; prints one table. The first run takes half an hour and more to set up, for llama.cpp and candle are
# compiled; 15 GB of disk, and the memory of as many peers as --at-once says, of 1 to 5.5 GB each. After that 15
# minutes are shared among groups of peers and their cases, of which `mixed` takes longest: --seconds and --cases
# choose otherwise.
#
# Usage: benches/peers/run.sh [--cases 1x16 ...] [--peers NAME ...] [--at-once N] [--rounds N] [--seconds N]
#   [--json FILE]
# CHECKPOINT names another checkpoint, TOKENIZER the folder of the released tokenizer that the random one gets
# (models/tiny). WORK keeps checkpoints, virtual environments and programs between runs. What cannot be set up is
# left out, and the table says why.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."

work=${WORK:-$PWD/target/peers}
tokenizer=${TOKENIZER:-models/tiny}
mkdir -p "$work"

# Makes the virtual environment NAME of requirements FILE; a failure is told and leaves none.
environment() {
    stamp=$work/$1/done
    cmp -s "$2" "$stamp" && return
    rm -rf "${work:?}/$1"
    python3 -m venv "$work/$1"
    if "$work/$1/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$2" \
        >"$work/$1.log" 2>&1; then
        cp "$2" "$stamp"
    else
        echo "$1 was not set up; see $work/$1.log" >&2
        rm -rf "${work:?}/$1"
    fi
}

environment python "$here/requirements.txt"
environment llama-cpp "$here/requirements-llama-cpp.txt"
python=$work/python/bin/python
[ -x "$python" ] || exit 1

checkpoint=${CHECKPOINT:-$work/0.6b}
[ -d "$checkpoint" ] ||
    "$python" models/make_checkpoint.py --shape 0.6b --tokenizer "$tokenizer" "$checkpoint"

cargo build --quiet --release --locked --manifest-path "$here/fastembed/Cargo.toml" \
    --target-dir "$work/fastembed" >"$work/fastembed.log" 2>&1 ||
    echo "fastembed was not built; see $work/fastembed.log" >&2
ours=$(cargo bench --locked -p qwen3-embed --no-default-features --features onnx --bench forward --no-run \
    --message-format json | "$python" "$here/built.py")

export QWEN3_QUANTIZED_CACHE="${QWEN3_QUANTIZED_CACHE:-$work/quantized}"
exec "$python" "$here/run.py" "$checkpoint" --work "$work" --ours "$ours" \
    --fastembed "$work/fastembed/release/peer-fastembed" --llama-python "$work/llama-cpp/bin/python" "$@"
