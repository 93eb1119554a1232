#!/usr/bin/env bash
# The server under real clients, a fuzzer of its own document, and load. Loopback only.
# PROGRAM names the program (default: the debug build, made here); SECONDS_OF_LOAD the length of
# each run of load. Needs wrk (a Debian package) and Python 3; installs wrk where it is missing.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
export PYTHONDONTWRITEBYTECODE=1 QWEN3_EMBED_LOG=${QWEN3_EMBED_LOG:-warn}
. "$root/scripts/lib/clients-venv.sh"

main() {
    install_wrk
    if [ -z "${PROGRAM:-}" ]; then
        cargo build --quiet --locked --manifest-path "$root/Cargo.toml" --package qwen3-embed
        PROGRAM=${CARGO_TARGET_DIR:-$root/target}/debug/qwen3-embed
    fi
    export PROGRAM
    say "clients"
    "$clients/python" "$root/cli/tests/clients/clients.py"
    say "the OpenAPI document"
    fuzz
    say "load"
    "$clients/python" "$root/cli/tests/clients/load.py"
    say "done in ${SECONDS} s"
}

say() { printf 'check-server: %s\n' "$*"; }

install_wrk() {
    ! command -v wrk >/dev/null || return 0
    local as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y \
        --no-install-recommends wrk >/dev/null
}

# Every check but one: a schema cannot say that two fields exclude each other, nor which prompts a
# model declares, so some requests that fit the schema are rightly refused.
fuzz() {
    local ready line
    work=$(mktemp -d)
    exec {ready}< <(exec "$PROGRAM" serve --port 0 --model "$root/models/tiny" --device cpu)
    server=$!
    trap 'kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
    read -r line <&"$ready"
    local url=${line#*\"listening\":\"}
    url=${url%\"*}
    # It leaves what it found in the folder that it runs in.
    (cd "$work" && "$clients/schemathesis" run "$url/openapi.json" --wait-for-schema 30 --seed 1 \
        --max-examples "${EXAMPLES:-60}" --exclude-checks positive_data_acceptance)
    kill "$server"
    wait "$server" || { say "FAILED: the server did not end well" && exit 1; }
    rm -rf "$work"
    trap - EXIT
}

main "$@"
