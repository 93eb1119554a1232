#!/usr/bin/env bash
# Builds the command line for macOS on Apple Silicon, on Debian 12, and looks at what came out.
#
# Nothing is run: this proves that the code compiles for the Mac and links
# against the MLX that is shipped for it. Needs root (or sudo) only where
# packages are missing. All else lies in target/macos.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
work=${CARGO_TARGET_DIR:-$root/target}/macos
tools=$work/tools
target=aarch64-apple-darwin
zig_version=0.17.0
# Two-level names: linked against the real library, each import says where it comes from.
imports=(
    __ZN3mlx4core6matmulE
    __ZN3mlx4core4fast8rms_normE
    __ZN3mlx4core4fast4ropeE
    __ZN3mlx4core4fast28scaled_dot_product_attentionE
)

main() {
    install_packages
    install_zig
    write_stubs
    build
    check "$work/$target/debug/qwen3-embed"
    say "done"
}

say() { printf 'check-macos: %s\n' "$*"; }

fail() {
    printf 'check-macos: FAILED: %s\n' "$*" >&2
    exit 1
}

# Debian's compiler comes with the standard library's source, which is built too.
install_packages() {
    local missing=() package
    for package in cargo-web rustc-web rust-web-src gcc libc6-dev llvm python3-venv; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
            missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing ${missing[*]}"
    local as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    "${as_root[@]}" apt-get update -qq
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -qq -y \
        --no-install-recommends "${missing[@]}" >/dev/null
}

install_zig() {
    export ZIG_PYTHON=$work/zig/bin/python
    export ZIG_GLOBAL_CACHE_DIR=$work/zig-cache ZIG_LOCAL_CACHE_DIR=$work/zig-cache
    if [ "$("$ZIG_PYTHON" -m ziglang version 2>/dev/null)" != "$zig_version" ]; then
        say "installing zig $zig_version"
        mkdir -p "$work"
        python3 -m venv --clear "$work/zig"
        "$ZIG_PYTHON" -m pip install -q --only-binary=:all: "ziglang==$zig_version"
    fi
    mkdir -p "$tools" "$ZIG_LOCAL_CACHE_DIR"
    local tool
    for tool in cc c++ ar; do
        ln -sfn "$here/lib/zig-for-macos" "$tools/zig-$tool"
    done
}

# zig has libSystem alone; the libc crate names libiconv as well, and uses nothing of it.
write_stubs() {
    export SDKROOT=$work/sdk
    mkdir -p "$SDKROOT/usr/lib"
    cat >"$SDKROOT/usr/lib/libiconv.tbd" <<'TBD'
--- !tapi-tbd
tbd-version: 4
targets: [ arm64-macos ]
install-name: '/usr/lib/libiconv.2.dylib'
exports:
  - targets: [ arm64-macos ]
    symbols: [ _iconv, _iconv_open, _iconv_close ]
...
TBD
}

build() {
    say "building qwen3-embed for $target"
    # An MLX that was chosen for this machine is of no use there.
    unset MLX_DIR RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER RUSTFLAGS CARGO_ENCODED_RUSTFLAGS
    # -Zbuild-std is unstable, and Debian's compiler is a stable one. It lacks the tool that strips a
    # program for a Mac, which cargo asks for where debug information is left out.
    RUSTC_BOOTSTRAP=1 \
        CARGO_PROFILE_DEV_STRIP=none \
        RUSTC=/usr/bin/rustc \
        CC_aarch64_apple_darwin=$tools/zig-cc \
        CXX_aarch64_apple_darwin=$tools/zig-c++ \
        AR_aarch64_apple_darwin=$tools/zig-ar \
        CARGO_TARGET_AARCH64_APPLE_DARWIN_LINKER=$tools/zig-c++ \
        MACOSX_DEPLOYMENT_TARGET=15.0 \
        QWEN3_NATIVE_PYTHON=$ZIG_PYTHON \
        CARGO_TARGET_DIR=$work \
        /usr/bin/cargo build --manifest-path "$root/Cargo.toml" --locked \
        --package qwen3-embed --target "$target" -Zbuild-std=std,panic_unwind
}

check() {
    local program=$1
    [ -f "$program" ] || fail "no program at $program"
    check_kind "$program"
    check_libraries "$program"
    check_run_path "$program"
    check_imports "$program"
}

check_kind() {
    local header
    header=$(llvm-objdump --macho --private-header "$1") || fail "no Mach-O file: $1"
    grep -Eq 'MH_MAGIC_64 +ARM64 .* EXECUTE ' <<<"$header" ||
        fail "not a Mach-O executable for arm64: $1"
    say "ok: a Mach-O executable for arm64"
}

check_libraries() {
    local libraries
    libraries=$(llvm-objdump --macho --dylibs-used "$1" | awk 'NR > 1 { print $1 }')
    grep -qx '@rpath/libmlx.dylib' <<<"$libraries" || fail "does not load @rpath/libmlx.dylib"
    say "ok: loads @rpath/libmlx.dylib"
    # Whatever else it loads must be a part of macOS.
    local foreign
    foreign=$(grep -Evx '@rpath/libmlx.dylib|/usr/lib/.*|/System/Library/.*' <<<"$libraries" || true)
    [ -z "$foreign" ] || fail "loads what a Mac lacks: $foreign"
    say "ok: loads nothing else that a Mac lacks"
}

check_run_path() {
    local folders library=""
    folders=$(llvm-objdump --macho --rpaths "$1" | tail -n +2)
    [ "$(head -n 1 <<<"$folders")" = @executable_path ] ||
        fail "the run path does not begin with @executable_path: ${folders:-empty}"
    say "ok: the run path begins with @executable_path"
    local folder
    while read -r folder; do
        [ -f "$folder/libmlx.dylib" ] && [ -f "$folder/mlx.metallib" ] && library=$folder
    done <<<"$folders"
    [ -n "$library" ] || fail "no folder of the run path holds libmlx.dylib and mlx.metallib"
    case $library/ in
        "$work"/*) fail "the run path leads into the build folder: $library" ;;
    esac
    say "ok: the run path holds MLX's library and kernels, outside of the build folder"
}

check_imports() {
    local symbols name
    symbols=$(llvm-nm -m -u "$1" | grep -F '(from libmlx)' || true)
    for name in "${imports[@]}"; do
        grep -qF " $name" <<<"$symbols" || fail "does not import $name from libmlx"
        say "ok: imports $name... from libmlx"
    done
    say "ok: $(wc -l <<<"$symbols") imports from libmlx in all"
}

main "$@"
