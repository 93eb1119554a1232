#!/usr/bin/env bash
# Builds and tests the library without its C++ half, with every C++ compiler failing.
#
# A C compiler remains: Rust links with one, and the tokenizer's regular expressions are C. What
# lies in CARGO_TARGET_DIR is not used, since a compiler that ran earlier leaves no trace.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
work=${CARGO_TARGET_DIR:-$root/target}/no-compiler
features=(--no-default-features --features onnx)

main() {
    shadow_compilers
    check_dependencies
    build_and_test
    [ ! -s "$work/calls" ] || fail "a C++ compiler was called: $(cat "$work/calls")"
    say "ok: no C++ compiler was called"
    say "done"
}

say() { printf 'check-no-compiler: %s\n' "$*"; }

fail() {
    printf 'check-no-compiler: FAILED: %s\n' "$*" >&2
    exit 1
}

# Where build scripts look for a compiler: names on PATH, and variables.
shadow_compilers() {
    mkdir -p "$work/shadow"
    : >"$work/calls"
    local name
    for name in c++ g++ clang++ "$(uname -m)-linux-gnu-g++" "$(uname -m)-linux-gnu-c++"; do
        printf '#!/bin/sh\necho "%s $*" >>"%s"\nexit 1\n' "$name" "$work/calls" >"$work/shadow/$name"
        chmod +x "$work/shadow/$name"
    done
    export PATH=$work/shadow:$PATH
    unset CXX CXXFLAGS HOST_CXX TARGET_CXX MLX_DIR
    ! c++ --version >/dev/null 2>&1 || fail "a C++ compiler is still there"
    : >"$work/calls"
}

check_dependencies() {
    local tree
    tree=$(cargo tree --manifest-path "$root/Cargo.toml" --locked --package qwen3-embedding \
        "${features[@]}" --edges normal,build --prefix none --format '{p}' | sort -u)
    ! grep -Eq '^(cxx|cxx-build|mlx-sys) ' <<<"$tree" || fail "depends on the bridge to MLX: $tree"
    say "ok: no dependency on MLX or its bridge"
    tree=$(cargo tree --manifest-path "$root/Cargo.toml" --locked --workspace --all-features \
        --prefix none --format '{p}' | sort -u)
    [ "$(grep -c '^ort-sys ' <<<"$tree")" = 1 ] || fail "not one ort-sys: $tree"
    say "ok: one ort-sys in the workspace"
}

build_and_test() {
    export CARGO_TARGET_DIR=$work
    cargo test --manifest-path "$root/Cargo.toml" --locked --package qwen3-embedding \
        "${features[@]}"
    local program=$work/debug/qwen3-embed
    cargo build --manifest-path "$root/Cargo.toml" --locked --package qwen3-embed "${features[@]}"
    ! grep -qa 'libmlx' "$program" || fail "the program names MLX's library"
    "$program" embed --dimensions 4 "What is the capital of China?" >/dev/null 2>&1 ||
        fail "the program does not run"
    say "ok: the program embeds without MLX"
}

main "$@"
