#!/usr/bin/env bash
# Builds the ONNX Runtime backend for 64-bit ARM Linux, on Debian 12, and runs its tests there.
#
# The processor is an emulated Neoverse N1 (Ampere Altra, Graviton 2): dot products and f16, no
# bf16. The tests compare with the same golden vectors as on x86. Emulated time says nothing about
# speed. Needs root (or sudo) only where packages are missing. All else lies in target/arm64, and
# the pinned wheel in the cache where every build puts it.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
work=${CARGO_TARGET_DIR:-$root/target}/arm64
target=aarch64-unknown-linux-gnu

main() {
    install_packages
    make_python
    prepare_emulation
    set_up_cargo
    check_processor
    run_tests
    check_program
    say "done"
}

say() { printf 'check-arm64: %s\n' "$*"; }

fail() {
    printf 'check-arm64: FAILED: %s\n' "$*" >&2
    exit 1
}

install_packages() {
    local missing=() package
    # No C++ compiler: this backend needs none.
    for package in cargo-web rustc-web libstd-rust-web-dev:arm64 gcc-aarch64-linux-gnu \
        libc6-dev-arm64-cross gcc libc6-dev libc6:arm64 libstdc++6:arm64 qemu-user file \
        python3-venv; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
            missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing ${missing[*]}"
    local as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    "${as_root[@]}" dpkg --add-architecture arm64
    "${as_root[@]}" apt-get update -qq
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -qq -y \
        --no-install-recommends "${missing[@]}" >/dev/null
}

# The build script fetches the target's own ONNX Runtime with its pip.
make_python() {
    export QWEN3_NATIVE_PYTHON=$work/python/bin/python
    "$QWEN3_NATIVE_PYTHON" -m pip --version >/dev/null 2>&1 || python3 -m venv --clear "$work/python"
}

# ONNX Runtime asks /proc/cpuinfo what the processor can do.
prepare_emulation() {
    export EMULATED_CPUINFO=$work/cpuinfo
    mkdir -p "$work"
    local processor
    for ((processor = 0; processor < $(nproc); processor++)); do
        cat <<CPUINFO
processor : $processor
BogoMIPS : 50.00
Features : fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp ssbs
CPU implementer : 0x41
CPU architecture: 8
CPU variant : 0x3
CPU part : 0xd0c
CPU revision : 1

CPUINFO
    done >"$EMULATED_CPUINFO"
}

set_up_cargo() {
    # A library that was chosen for this machine is of no use there.
    unset QWEN3_ONNXRUNTIME RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER RUSTFLAGS CARGO_ENCODED_RUSTFLAGS
    export RUSTC=/usr/bin/rustc
    export CARGO_TARGET_DIR=$work CARGO_INCREMENTAL=0
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER=$here/lib/on-neoverse-n1
    # Tests that start themselves again go through the emulator too.
    export QWEN3_TEST_RUNNER=$here/lib/on-neoverse-n1
}

# Otherwise a test that passes could have run anywhere.
check_processor() {
    local part
    part=$("$here/lib/on-neoverse-n1" --show-cpuinfo | grep -c '^CPU part : 0xd0c$') ||
        fail "the emulator does not show a Neoverse N1"
    say "ok: a Neoverse N1 with $part cores is emulated"
}

run_tests() {
    say "testing linear layers and attention for $target"
    /usr/bin/cargo test --manifest-path "$root/Cargo.toml" --locked --package kernels --lib \
        --target "$target"
    say "testing the ONNX Runtime backend for $target"
    # Those that compute: files, texts and queues are alike on every processor. An emulator is too
    # slow to quantise every fixture: of int8 the built-in model and its own tests run.
    run_cargo_tests --lib --test finite --test parity --test selection -- \
        --skip int8_is_close_to_the_reference_on_every_configuration
    run_cargo_tests --test int8 -- a_kept a_model_that_has a_damaged a_zero_vector the_precision
}

run_cargo_tests() {
    /usr/bin/cargo test --manifest-path "$root/Cargo.toml" --locked \
        --package qwen3-embedding --no-default-features --features onnx --target "$target" "$@"
}

# What a user would run, and that it is what it claims to be.
check_program() {
    /usr/bin/cargo build --quiet --manifest-path "$root/Cargo.toml" --locked \
        --package qwen3-embed --no-default-features --features onnx --target "$target"
    local program=$work/$target/debug/qwen3-embed info
    file -b "$program" | grep -q '^ELF 64-bit.* ARM aarch64' || fail "not built for ARM: $program"
    info=$("$here/lib/on-neoverse-n1" "$program" info --format json)
    grep -q '"name":"onnx"' <<<"$info" || fail "does not run on ONNX Runtime: $info"
    grep -q '"library_version":"1\.' <<<"$info" || fail "says no version: $info"
    say "ok: qwen3-embed runs there: $info"
}

main "$@"
