"""Compares committed models with regenerated ones: files byte for byte, golden vectors within rounding."""

import argparse
import json
from pathlib import Path

# The same f32 program on another processor adds in another order.
TOLERANCE = 1e-5


def models(committed, regenerated):
    """(name, committed, regenerated): the folders themselves if they are models, else each of their children."""
    if (committed / "golden.json").exists():
        return [(committed.name, committed, regenerated)]
    names = sorted({path.name for folder in (committed, regenerated) for path in folder.iterdir()})
    return [(name, committed / name, regenerated / name) for name in names]


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def differences(committed, regenerated):
    left, right = files(committed), files(regenerated)
    yield from (f"{name} is not committed" for name in sorted(right - left))
    yield from (f"{name} is not regenerated" for name in sorted(left - right))
    for name in sorted(left & right):
        if name == "golden.json":
            yield from golden_differences(committed / name, regenerated / name)
        elif (committed / name).read_bytes() != (regenerated / name).read_bytes():
            yield f"{name} differs"


def golden_differences(committed, regenerated):
    left, right = (json.loads(path.read_text(encoding="utf-8")) for path in (committed, regenerated))
    if left["reference"] != right["reference"]:
        yield f"golden.json comes from {left['reference']}, not {right['reference']}"
    if len(left["cases"]) != len(right["cases"]):
        yield f"golden.json has {len(left['cases'])} cases, not {len(right['cases'])}"
    for number, (one, other) in enumerate(zip(left["cases"], right["cases"])):
        rows = one.pop("hidden"), other.pop("hidden")
        if one != other:
            yield f"golden.json, case {number}: {one}, not {other}"
        if len(rows[0]) != len(rows[1]):
            yield f"golden.json, case {number}: {len(rows[0])} values, not {len(rows[1])}"
        # Written so that a NaN is a difference.
        if not all(abs(a - b) <= TOLERANCE for a, b in zip(*rows)):
            yield f"golden.json, case {number}: vectors differ by up to {max(abs(a - b) for a, b in zip(*rows))}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+", metavar="COMMITTED REGENERATED", help="pairs of folders")
    folders = parser.parse_args().folders
    failed = total = 0
    for pair in zip(folders[::2], folders[1::2], strict=True):
        for name, committed, regenerated in models(*pair):
            found = list(differences(committed, regenerated))
            print(f"FAIL {name}: {'; '.join(found)}" if found else f"ok   {name}")
            failed += bool(found)
            total += 1
    print(f"{total - failed} passed, {failed} failed")
    raise SystemExit(failed > 0 or total == 0)


if __name__ == "__main__":
    main()
