#!/bin/sh
# Installs the command line, deletes its build directory and runs it without the environment.
set -eu
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cargo install --quiet --locked --path cli --root "$work/installed" --target-dir "$work/build"
rm -rf "$work/build"
cd /
env -i "$work/installed/bin/qwen3-embed" embed --dimensions 4 "What is the capital of China?"
echo "check-install: done"
