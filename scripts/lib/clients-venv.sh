# Sourced, with `root` set: makes the virtual environment of the server's clients, or heals a
# half-made one. CLIENTS_VENV names it (default: clients-venv in target). Leaves its `bin` in `clients`.

venv=${CLIENTS_VENV:-${CARGO_TARGET_DIR:-$root/target}/clients-venv}
clients=$venv/bin
if ! "$clients/python" -m pip --version >/dev/null 2>&1; then
    # Only what is a virtual environment is emptied, whatever else the variable may name.
    clear=
    [ ! -f "$venv/pyvenv.cfg" ] || clear=--clear
    python3 -m venv $clear "$venv"
fi
"$clients/python" -m pip install --quiet --disable-pip-version-check \
    --requirement "$root/cli/tests/clients/requirements.txt"
