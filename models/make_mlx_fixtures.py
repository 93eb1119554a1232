"""Writes the quantised fixtures: parity checkpoints that mlx-lm packed, with its own hidden states in f32."""

import argparse
import contextlib
import json
import shutil
import tempfile
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import mlx.core as mx
from mlx_lm.utils import load_model, quantize_model, save_config, save_model

FIXTURES = Path(__file__).parent.parent / "tests" / "fixtures"


def packing(bits, group_size, mode="affine"):
    return {"group_size": group_size, "bits": bits, "mode": mode}


@dataclass(frozen=True)
class Fixture:
    """A parity checkpoint and how it is packed; layers that groups do not divide stay as they are."""

    name: str
    source: str
    default: dict
    # The end of a path -> its own packing, or False.
    named: dict = field(default_factory=dict)

    def predicate(self, path, module):
        for end, own in self.named.items():
            if path.endswith(end):
                return own
        return module.weight.shape[-1] % self.default["group_size"] == 0


PACKED = [
    Fixture("affine-2bit-g32", "one-layer-rope-1e4", packing(2, 32)),
    Fixture("affine-3bit-g32", "gqa-8-4-five-layers", packing(3, 32)),
    Fixture("affine-4bit-g64", "large-gains", packing(4, 64)),
    Fixture("affine-5bit-g32", "untied", packing(5, 32)),
    Fixture("affine-6bit-g128", "head-dim-128-wide", packing(3, 32), {"o_proj": packing(6, 128)}),
    Fixture("affine-8bit-g32", "three-shards", packing(8, 32)),
    Fixture("mxfp4", "large-gains-new", packing(4, 32, "mxfp4")),
    Fixture("mxfp8", "head-dim-equals-ratio", packing(8, 32, "mxfp8")),
    Fixture("nvfp4", "gqa-4-2", packing(4, 16, "nvfp4")),
    # Projections of one input with other packings, one left out, another mode, the table by itself.
    Fixture("mixed", "head-dim-equals-ratio", packing(4, 32), {
        "embed_tokens": packing(8, 64),
        "v_proj": packing(6, 64),
        "layers.0.mlp.up_proj": packing(4, 16, "nvfp4"),
        "layers.1.self_attn.o_proj": False,
        "layers.1.self_attn.q_proj": False,
        "layers.1.mlp.down_proj": packing(8, 32, "mxfp8"),
    }),
]


def load_source(source):
    """A parity checkpoint; mlx-lm wants every key to begin with `model.`."""
    weights = {}
    for shard in sorted(source.glob("model*.safetensors")):
        weights |= mx.load(str(shard))
    prefixed = {key if key.startswith(("model.", "lm_head.")) else f"model.{key}": value for key, value in weights.items()}
    with tempfile.TemporaryDirectory() as work:
        mx.save_safetensors(f"{work}/model.safetensors", prefixed)
        shutil.copyfile(source / "config.json", f"{work}/config.json")
        return load_model(Path(work))


def write_fixture(fixture, directory):
    source = FIXTURES / "parity" / fixture.source
    directory.mkdir(parents=True)
    model, config = load_source(source)
    model, config = quantize_model(
        model, config, mode=fixture.default["mode"], bits=fixture.default["bits"],
        group_size=fixture.default["group_size"], quant_predicate=fixture.predicate,
    )
    save_model(directory, model)
    save_config(config, directory / "config.json")
    (directory / "model.safetensors.index.json").unlink()
    cases = json.loads((source / "golden.json").read_text(encoding="utf-8"))["cases"]
    write_golden(directory, [case["ids"] for case in cases])


def write_golden(directory, sequences):
    """As mlx-lm loads it, every float then widened to f32, which changes no value."""
    model, _ = load_model(directory)
    model.set_dtype(mx.float32)
    lines = []
    for ids in sequences:
        row = model.model(mx.array([ids]))[0, -1]
        assert row.dtype == mx.float32 and mx.isfinite(row).all()
        hidden = [float(f"{value:.9g}") for value in row.tolist()]
        lines.append("    " + json.dumps({"ids": ids, "hidden": hidden}))
    versions = {name: version(name) for name in ("mlx", "mlx-lm")} | {"dtype": "float32"}
    text = f'{{\n  "reference": {json.dumps(versions)},\n  "cases": [\n' + ",\n".join(lines) + "\n  ]\n}\n"
    (directory / "golden.json").write_text(text, encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=FIXTURES / "mlx", help="folder to write (default: tests/fixtures/mlx)")
    out = parser.parse_args().out
    # Vectors are compared between machines.
    mx.set_default_device(mx.cpu)
    shutil.rmtree(out, ignore_errors=True)
    for fixture in PACKED:
        with contextlib.redirect_stdout(None):
            write_fixture(fixture, out / fixture.name)
        print(fixture.name)


if __name__ == "__main__":
    main()
