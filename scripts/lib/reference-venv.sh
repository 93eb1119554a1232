# Sourced, with `root` set: makes the reference's virtual environment, or heals a half-made one.
# VENV names it (default: .venv in the repository root), `requirements` a file of models/ (default: requirements.txt).
# Leaves its Python in `python`.

venv=${VENV:-$root/.venv}
python=$venv/bin/python
if ! "$python" -m pip --version >/dev/null 2>&1; then
    # Only what is a virtual environment is emptied, whatever else VENV may name.
    clear=
    [ ! -f "$venv/pyvenv.cfg" ] || clear=--clear
    python3 -m venv $clear "$venv"
fi
"$python" -m pip install --quiet --disable-pip-version-check \
    --requirement "$root/models/${requirements:-requirements.txt}"
