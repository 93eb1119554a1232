#!/bin/sh
# Installs the command line and runs it without the environment and without its build directory. The
# debug build: what an earlier build left in CARGO_TARGET_DIR (default: target) need not be made again.
set -eu
cd "$(dirname "$0")/.."

build=${CARGO_TARGET_DIR:-$PWD/target}
work=$(mktemp -d)
gone=$build.gone
restore() {
    [ ! -d "$gone" ] || mv "$gone" "$build"
    rm -rf "$work"
}
trap restore EXIT
cargo install --quiet --locked --debug --path cli --root "$work/installed" --target-dir "$build"
mv "$build" "$gone"
cd /
env -i "$work/installed/bin/qwen3-embed" embed --dimensions 4 "What is the capital of China?"
echo "check-install: done"
