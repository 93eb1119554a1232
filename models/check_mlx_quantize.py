"""Shows that `qwen3-embed quantize` writes what mlx-lm would, tensor by tensor, and that mlx-lm runs it to the same vectors."""

import argparse
import contextlib
import json
import subprocess
import tempfile
from pathlib import Path

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.utils import load, load_model, quantize_model

from make_mlx_fixtures import load_source, packing

TINY = Path(__file__).parent / "tiny"
PACKINGS = [
    packing(4, 64), packing(8, 64), packing(3, 32), packing(4, 32, "mxfp4"), packing(8, 32, "mxfp8"),
    packing(4, 16, "nvfp4"),
]
IDS = [5, 77, 901, 12000, 3]


def check(program, packed, out):
    subprocess.run([
        program, "quantize", "--model", TINY, "--mode", packed["mode"], "--bits", str(packed["bits"]),
        "--group-size", str(packed["group_size"]), out,
    ], check=True, capture_output=True)
    model, config = load_source(TINY)
    with contextlib.redirect_stdout(None):
        model, _ = quantize_model(model, config, **packed)
    expected, found = dict(tree_flatten(model.parameters())), mx.load(str(out / "model.safetensors"))
    assert set(expected) == set(found), set(expected) ^ set(found)
    for key, value in expected.items():
        assert found[key].dtype == value.dtype and mx.array_equal(found[key], value), key

    load(str(out))  # the tokenizer too
    model, _ = load_model(out)
    model.set_dtype(mx.float32)
    row = model.model(mx.array([IDS]))[0, -1]
    answer = subprocess.run([
        program, "embed", "--model", out, "--backend", "mlx", "--device", "cpu", "--precision", "f32",
        "--token-ids", ",".join(map(str, IDS)),
    ], check=True, capture_output=True)
    vector = mx.array(json.loads(answer.stdout)["embeddings"][0])
    cosine = ((row / mx.linalg.norm(row)) @ vector).item()
    assert cosine >= 0.99999, cosine
    print(f"ok   {packed['mode']}, {packed['bits']} bits in groups of {packed['group_size']}: "
          f"{len(found)} tensors equal, cosine {cosine:.6f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", type=Path, help="qwen3-embed, built with the feature mlx")
    program = parser.parse_args().program.resolve()
    mx.set_default_device(mx.cpu)
    for packed in PACKINGS:
        with tempfile.TemporaryDirectory() as work:
            check(program, packed, Path(work) / "out")


if __name__ == "__main__":
    main()
