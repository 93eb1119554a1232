"""Counts the kernels of one layer as mlx-lm asks for them, beside those of this crate, on the same checkpoint.

On a processor MLX takes its fused operations apart: what each becomes is counted first and then taken off, as in
src/backend/mlx/launch_tests.rs, whose figures are printed here and which that test holds to the crate's own graph.
"""

import re
import tempfile
from collections import Counter
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.models.activations import swiglu

from make_mlx_fixtures import load_source

ROOT = Path(__file__).parent.parent
CHECKPOINTS = {
    "LAUNCHES": ROOT / "tests/fixtures/parity/gqa-8-4-five-layers",
    "LAUNCHES_QUANTIZED": ROOT / "tests/fixtures/mlx/affine-3bit-g32",
}
VIEWS = {"Broadcast", "ExpandDims", "Flatten", "Reshape", "Slice", "Squeeze", "Transpose", "Unflatten"}


def kinds(array):
    with tempfile.NamedTemporaryFile("r", suffix=".dot") as file:
        mx.export_to_dot(file.name, array)
        return Counter(re.findall(r'\[label ="(\w+)"', file.read()))


def per_layer(directory):
    model, config = load_source(directory)
    model.set_dtype(mx.float32)
    mx.eval(model.parameters())
    ids = mx.full((2, 7), 3)

    def run():
        # As a loop over the layers does; the mask is the same for all.
        return kinds(model.model(ids))

    more = run()
    model.model.layers.pop()
    layer = more - run()

    h, kv, d, hidden = (config[key] for key in
                        ("num_attention_heads", "num_key_value_heads", "head_dim", "hidden_size"))
    norm = nn.RMSNorm(hidden)
    stream, queries, keys = mx.zeros((2, 7, hidden)), mx.zeros((2, h, 7, d)), mx.zeros((2, kv, 7, d))
    rope = model.model.layers[0].self_attn.rope
    mx.eval(norm.parameters(), stream, queries, keys)
    fused = [
        ("RMSNorm", 4, norm(stream)),
        ("RoPE", 2, rope(queries)),
        ("ScaledDotProductAttention", 1, mx.fast.scaled_dot_product_attention(queries, keys, keys, scale=1.0, mask="causal")),
        ("SwiGLU", 1, swiglu(stream, stream)),
    ]
    found = Counter()
    for name, times, array in fused:
        for kind, count in kinds(array).items():
            layer[kind] -= times * count
        found[name] = times
    assert all(count >= 0 for count in layer.values()), layer
    return found + Counter({kind: count for kind, count in layer.items() if kind not in VIEWS})


def ours(name):
    text = (ROOT / "src/backend/mlx/launch_tests.rs").read_text(encoding="utf-8")
    table = re.search(rf"const {name}: .*?= \[(.*?)\];", text, re.S).group(1)
    return Counter({kind: int(count) for kind, count in re.findall(r'\("([\w ]+)", (\d+)\)', table)})


def main():
    mx.set_default_device(mx.cpu)
    # Compiled functions would hide what they hold.
    mx.disable_compile()
    for name, directory in CHECKPOINTS.items():
        print(directory.relative_to(ROOT))
        for who, counts in (("mlx-lm", per_layer(directory)), ("qwen3-embedding", ours(name))):
            listed = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
            print(f"  {who:<16}{counts.total():>3}: {listed}")


if __name__ == "__main__":
    main()
