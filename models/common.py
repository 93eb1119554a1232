"""What the model scripts share: random checkpoints in the released layout, and the reference run."""

import json
import math
import zlib
from dataclasses import dataclass, fields
from pathlib import Path

import numpy
import torch
import transformers
from safetensors import safe_open
from transformers import Qwen3Config, Qwen3Model

# One thread: the order of additions, and so the last bits, then do not depend on the machine's core count.
torch.set_num_threads(1)
transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
SAFETENSORS_DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}

# Two implementations of attention, both f32, differ by rounding only.
AGREEMENT = 1e-5

# The released models' query prompt; a document has none.
QUERY_PROMPT = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"

# The released tokenizer's added tokens; the first ends every text.
EOS, CHAT_START, CHAT_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIAL = (EOS, CHAT_START, CHAT_END)

# Elements generated at a time: bounds the memory of a full-size checkpoint.
BLOCK = 1 << 24


@dataclass(frozen=True)
class Shape:
    """The architecture, named as in config.json."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    max_position_embeddings: int
    rms_norm_eps: float
    rope_theta: float
    tie_word_embeddings: bool


@dataclass(frozen=True)
class Scale:
    """How the random weights are spread; the defaults keep activations near one."""

    embedding: float = 1.0
    query_key: float = 1.0
    large_gains: int = 0


@dataclass(frozen=True)
class Tensor:
    """One random tensor: a matrix N(0, std), or a norm's gain 1 + N(0, std) with a few large entries."""

    name: str
    shape: tuple[int, ...]
    std: float
    large_gains: int = 0

    def blocks(self, seed):
        """Flat f32 blocks; they depend on the seed and the name, not on the order of writing."""
        random = numpy.random.default_rng([seed, zlib.crc32(self.name.encode())])
        left = math.prod(self.shape)
        while left:
            block = random.standard_normal(min(left, BLOCK), dtype=numpy.float32) * numpy.float32(self.std)
            left -= block.size
            if len(self.shape) == 1:
                block += 1
                block[random.permutation(block.size)[: self.large_gains]] *= 4
            yield torch.from_numpy(block)


def model_tensors(shape, scale=Scale()):
    """Every tensor of the model proper, in the model's order and without prefix; no lm_head."""
    hidden, width = shape.hidden_size, shape.intermediate_size
    queries = shape.num_attention_heads * shape.head_dim
    keys = shape.num_key_value_heads * shape.head_dim

    def matrix(name, rows, columns, factor=1.0):
        return Tensor(f"{name}.weight", (rows, columns), factor / math.sqrt(columns))

    def gain(name, size, large=scale.large_gains):
        return Tensor(f"{name}.weight", (size,), 0.2, large)

    tensors = [Tensor("embed_tokens.weight", (shape.vocab_size, hidden), scale.embedding)]
    for layer in (f"layers.{index}" for index in range(shape.num_hidden_layers)):
        tensors += [
            gain(f"{layer}.input_layernorm", hidden),
            matrix(f"{layer}.self_attn.q_proj", queries, hidden, scale.query_key),
            matrix(f"{layer}.self_attn.k_proj", keys, hidden, scale.query_key),
            matrix(f"{layer}.self_attn.v_proj", keys, hidden),
            matrix(f"{layer}.self_attn.o_proj", hidden, queries),
            gain(f"{layer}.self_attn.q_norm", shape.head_dim, scale.large_gains // 2),
            gain(f"{layer}.self_attn.k_norm", shape.head_dim, scale.large_gains // 2),
            gain(f"{layer}.post_attention_layernorm", hidden),
            matrix(f"{layer}.mlp.gate_proj", width, hidden),
            matrix(f"{layer}.mlp.up_proj", width, hidden),
            matrix(f"{layer}.mlp.down_proj", hidden, width),
        ]
    return tensors + [gain("norm", hidden)]


def write_safetensors(path, tensors, dtype, seed):
    """Byte for byte what the safetensors library writes, but one block at a time.

    `tensors` is a list of (key, Tensor): a key may carry a prefix that its values do not depend on.
    """
    tensors = sorted(tensors, key=lambda pair: pair[0])
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for key, tensor in tensors:
        start, end = end, end + math.prod(tensor.shape) * DTYPES[dtype].itemsize
        header[key] = {
            "dtype": SAFETENSORS_DTYPES[dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, tensor in tensors:
            for block in tensor.blocks(seed):
                file.write(block.to(DTYPES[dtype]).view(torch.uint8).numpy().data)
    return end


def write_weights(directory, tensors, dtype, seed, shards=1):
    """model.safetensors, or shards of about equal size with their index."""
    if shards == 1:
        write_safetensors(directory / "model.safetensors", tensors, dtype, seed)
        return
    total = sum(math.prod(tensor.shape) for _, tensor in tensors)
    parts, before = [[] for _ in range(shards)], 0
    for key, tensor in tensors:
        parts[min(before * shards // total, shards - 1)].append((key, tensor))
        before += math.prod(tensor.shape)
    weight_map, size = {}, 0
    for number, part in enumerate(parts, 1):
        file = f"model-{number:05}-of-{shards:05}.safetensors"
        size += write_safetensors(directory / file, part, dtype, seed)
        weight_map |= {key: file for key, _ in part}
    index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(weight_map.items()))}
    write_json(directory / "model.safetensors.index.json", index)


def old_config(shape, dtype, eos, architecture="Qwen3ForCausalLM"):
    """config.json as transformers 4.51 wrote it for the released checkpoints."""
    dimensions = {field.name: getattr(shape, field.name) for field in fields(Shape)}
    return dict(sorted((dimensions | {
        "architectures": [architecture],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": eos,
        "eos_token_id": eos,
        "hidden_act": "silu",
        "initializer_range": 0.02,
        "max_window_layers": shape.num_hidden_layers,
        "model_type": "qwen3",
        "rope_scaling": None,
        "sliding_window": None,
        "torch_dtype": dtype,
        "transformers_version": "4.51.3",
        "use_cache": True,
        "use_sliding_window": False,
    }).items()))


def middle_config(shape, dtype, eos, architecture="Qwen3ForCausalLM"):
    """config.json as transformers 4.57 wrote it: `dtype` and `layer_types`, rope_theta still at the top."""
    config = old_config(shape, dtype, eos, architecture)
    del config["torch_dtype"]
    return dict(sorted((config | {
        "dtype": dtype,
        "layer_types": ["full_attention"] * shape.num_hidden_layers,
        "transformers_version": "4.57.1",
    }).items()))


def new_config(shape, dtype, eos, architecture="Qwen3ForCausalLM"):
    """config.json as the installed transformers 5 writes it."""
    dimensions = {field.name: getattr(shape, field.name) for field in fields(Shape)}
    theta = dimensions.pop("rope_theta")
    config = Qwen3Config(
        **dimensions,
        architectures=[architecture],
        bos_token_id=eos,
        dtype=dtype,
        eos_token_id=eos,
        max_window_layers=shape.num_hidden_layers,
        rope_parameters={"rope_theta": theta, "rope_type": "default"},
        sliding_window=None,
        use_sliding_window=False,
    )
    return json.loads(config.to_json_string())


def write_sentence_transformers(directory, hidden):
    """The files that tell sentence-transformers the prompts, the pooling and the normalisation."""
    prompts = {"query": QUERY_PROMPT, "document": ""}
    write_json(
        directory / "config_sentence_transformers.json",
        {"prompts": prompts, "default_prompt_name": None, "similarity_fn_name": "cosine"},
    )
    modules = (("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize"))
    write_json(directory / "modules.json", [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (kind, path) in enumerate(modules)
    ])
    write_json(directory / "1_Pooling" / "config.json", {
        "word_embedding_dimension": hidden,
        "pooling_mode_cls_token": False,
        "pooling_mode_mean_tokens": False,
        "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False,
        "pooling_mode_weightedmean_tokens": False,
        "pooling_mode_lasttoken": True,
        "include_prompt": True,
    })


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_shape(directory):
    """The shape as config.json states it, read without transformers and without any default."""
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    config["rope_theta"] = config.get("rope_parameters", config)["rope_theta"]
    return Shape(**{field.name: config[field.name] for field in fields(Shape)})


class Reference:
    """transformers' Qwen3Model in f32, loaded from the files as written and checked against them."""

    def __init__(self, directory):
        self.model, loading = Qwen3Model.from_pretrained(
            directory, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
        )
        assert not loading["missing_keys"] and not loading["mismatched_keys"], loading
        assert set(loading["unexpected_keys"]) <= {"lm_head.weight"}, loading
        self.model.eval()
        self._check_weights(directory)
        self._check_shape(read_shape(directory))

    def _check_weights(self, directory):
        left = dict(self.model.state_dict())
        for path in sorted(directory.glob("*.safetensors")):
            with safe_open(path, "pt") as file:
                for key in file.keys():
                    if key != "lm_head.weight":
                        stored = file.get_tensor(key).to(torch.float32)
                        assert torch.equal(left.pop(key.removeprefix("model.")), stored), key
        assert not left, f"{directory}: not in the files: {sorted(left)}"

    def _check_shape(self, shape):
        """Against the modules that compute, not against the configuration they were made from."""
        model = self.model
        exponents = torch.arange(0, shape.head_dim, 2, dtype=torch.float32) / shape.head_dim
        assert torch.allclose(model.rotary_emb.inv_freq, shape.rope_theta**-exponents, rtol=1e-6)
        assert model.rotary_emb.attention_scaling == 1.0
        assert model.embed_tokens.weight.shape == (shape.vocab_size, shape.hidden_size)
        assert len(model.layers) == shape.num_hidden_layers
        norms = [model.norm]
        for layer in model.layers:
            attention = layer.self_attn
            norms += [layer.input_layernorm, layer.post_attention_layernorm, attention.q_norm, attention.k_norm]
            assert attention.head_dim == shape.head_dim
            assert attention.scaling == shape.head_dim**-0.5
            assert attention.num_key_value_groups * shape.num_key_value_heads == shape.num_attention_heads
            assert attention.sliding_window is None and attention.q_proj.bias is None
            assert attention.q_proj.weight.shape[0] == shape.num_attention_heads * shape.head_dim
            assert layer.mlp.gate_proj.weight.shape[0] == shape.intermediate_size
        assert all(norm.variance_epsilon == shape.rms_norm_eps for norm in norms)

    def hidden(self, ids, attention="eager"):
        """The last token's row after the final norm, the sequence alone in its batch."""
        self.model.set_attn_implementation(attention)
        with torch.inference_mode():
            output = self.model(input_ids=torch.tensor([ids]), use_cache=False)
        return output.last_hidden_state[0, -1]

    def case(self, ids):
        """{"ids", "hidden"} for golden.json, agreed on by both implementations of attention."""
        row, second = self.hidden(ids), self.hidden(ids, "sdpa")
        assert row.isfinite().all()
        difference = (row - second).abs().max().item()
        assert difference <= AGREEMENT, f"eager and sdpa differ by {difference}"
        return {"ids": list(ids), "hidden": [float(f"{value:.9g}") for value in row.tolist()]}


def write_golden(path, cases):
    """One case per line, so that a difference can be read."""
    versions = {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__, "dtype": "float32"}
    lines = ",\n".join("    " + json.dumps(case, ensure_ascii=False) for case in cases)
    path.write_text(f'{{\n  "reference": {json.dumps(versions)},\n  "cases": [\n{lines}\n  ]\n}}\n', encoding="utf-8")
