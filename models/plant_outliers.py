"""Writes a copy of a checkpoint with outliers as trained models have them: what per-tensor int8 cannot hold."""

import argparse
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import Qwen3Config, Qwen3Model

# Each norm of a block gets this many gains of 10 to 50 times what they were.
LARGE_GAINS = 4

# In this layer, a few rows of down_proj answer to what the first token brings.
FIRST_TOKEN_LAYER = 2
FIRST_TOKEN_SIZES = (300.0, -500.0)

# In this layer, a few rows of down_proj are larger for every token.
LARGE_ROWS_LAYER = 3
LARGE_ROWS, LARGE_ROWS_FACTOR = 4, 30


def plant_gains(weights, random):
    for key in sorted(weights):
        if "layernorm" in key:
            places = torch.randperm(weights[key].numel(), generator=random)[:LARGE_GAINS]
            factors = 10 + 40 * torch.rand(LARGE_GAINS, generator=random)
            weights[key][places] = (weights[key][places].float() * factors).to(weights[key].dtype)


def first_token(directory, weights, token):
    """What down_proj reads for this token at position 0, and the median size of the residual stream after it."""
    config = Qwen3Config.from_pretrained(directory)
    config.num_hidden_layers = FIRST_TOKEN_LAYER + 1
    model = Qwen3Model(config).float().eval()
    kept = {key: value.float() for key, value in weights.items() if key in model.state_dict()}
    model.load_state_dict(kept, strict=True)
    seen = {}
    last = model.layers[-1]
    last.mlp.down_proj.register_forward_hook(lambda _module, inputs, _output: seen.update(read=inputs[0][0, 0]))
    last.register_forward_hook(lambda _module, _inputs, output: seen.update(stream=output))
    with torch.inference_mode():
        model(input_ids=torch.tensor([[token]]))
    return seen["read"].clone(), seen["stream"].abs().median().item()


def plant_rows(directory, weights, random, token):
    """Prints how far above the median the first token's largest activations are."""
    places = torch.randperm(weights["norm.weight"].numel(), generator=random)
    key = f"layers.{FIRST_TOKEN_LAYER}.mlp.down_proj.weight"
    read, median = first_token(directory, weights, token)
    matrix = weights[key].float()
    for place, size in zip(places, FIRST_TOKEN_SIZES):
        matrix[place] += read / (read @ read) * size * median
    weights[key] = matrix.to(weights[key].dtype)

    key = f"layers.{LARGE_ROWS_LAYER}.mlp.down_proj.weight"
    rows = places[len(FIRST_TOKEN_SIZES) :][:LARGE_ROWS]
    weights[key][rows] = (weights[key][rows].float() * LARGE_ROWS_FACTOR).to(weights[key].dtype)
    sizes = ", ".join(f"{abs(size):.0f}" for size in FIRST_TOKEN_SIZES)
    print(f"token {token}, first: activations of {sizes} times the median after layer {FIRST_TOKEN_LAYER}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, metavar="SOURCE", help="one shard, keys without prefix")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to make; must not exist")
    parser.add_argument("--first-token", type=int, default=9707)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    if options.out.exists():
        parser.error(f"{options.out} exists")
    weights = load_file(options.source / "model.safetensors")
    random = torch.Generator().manual_seed(options.seed)
    plant_gains(weights, random)
    plant_rows(options.source, weights, random, options.first_token)
    shutil.copytree(options.source, options.out, ignore=shutil.ignore_patterns("*.safetensors"))
    save_file(weights, options.out / "model.safetensors", metadata={"format": "pt"})


if __name__ == "__main__":
    main()
