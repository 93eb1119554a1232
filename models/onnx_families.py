"""The graphs of the model families that are published as ONNX files, each beside the transformers model it repeats."""

import math

import numpy
import torch

from onnx_graph import Graph


def bert(model, inputs=("input_ids", "attention_mask", "token_type_ids")):
    """BertModel; without token_type_ids as an input they are 0."""
    config, graph = model.config, Graph(model.state_dict())
    length = graph.size("input_ids", 1)
    positions = graph.op("Slice", graph.weight("embeddings.position_embeddings.weight"), [0], length, [0])
    types = graph.weight("embeddings.token_type_embeddings.weight")
    types = graph.op("Gather", types, "token_type_ids" if "token_type_ids" in inputs else 0)
    x = graph.op("Gather", graph.weight("embeddings.word_embeddings.weight"), "input_ids")
    x = graph.op("Add", graph.op("Add", x, types), positions)
    return encoder(graph, x, config, inputs)


def xlm_roberta(model):
    """XLMRobertaModel: positions are counted from the ids that are not padding, and begin after the pad id."""
    config, graph = model.config, Graph(model.state_dict())
    real = graph.op("Not", graph.op("Equal", "input_ids", config.pad_token_id))
    real = graph.cast(real, "int64")
    positions = graph.op("Mul", graph.op("CumSum", real, 1), real)
    positions = graph.op("Add", positions, config.pad_token_id)
    x = graph.op("Gather", graph.weight("embeddings.word_embeddings.weight"), "input_ids")
    x = graph.op("Add", x, graph.op("Gather", graph.weight("embeddings.token_type_embeddings.weight"), 0))
    x = graph.op("Add", x, graph.op("Gather", graph.weight("embeddings.position_embeddings.weight"), positions))
    return encoder(graph, x, config, ("input_ids", "attention_mask"))


def encoder(graph, x, config, inputs):
    """The post-norm blocks that BERT and RoBERTa share."""
    def normed(x, key):
        return graph.op("LayerNormalization", x, graph.weight(f"{key}.weight"), graph.weight(f"{key}.bias"),
                        axis=-1, epsilon=config.layer_norm_eps)

    mask = graph.op("Unsqueeze", graph.cast("attention_mask", "bool"), [1, 2])
    bias = graph.bias(mask)
    heads = config.num_attention_heads
    scale = (config.hidden_size // heads) ** -0.5
    x = normed(x, "embeddings.LayerNorm")
    for layer in (f"encoder.layer.{index}" for index in range(config.num_hidden_layers)):
        q, k, v = (graph.heads(graph.linear(x, f"{layer}.attention.self.{name}"), heads)
                   for name in ("query", "key", "value"))
        attended = graph.linear(graph.attention(q, k, v, bias, scale), f"{layer}.attention.output.dense")
        x = normed(graph.op("Add", x, attended), f"{layer}.attention.output.LayerNorm")
        wide = graph.linear(x, f"{layer}.intermediate.dense")
        half = graph.op("Mul", wide, 0.5)
        wide = graph.op("Mul", half, graph.op("Add", graph.op("Erf", graph.op("Mul", wide, math.sqrt(0.5))), 1.0))
        x = normed(graph.op("Add", x, graph.linear(wide, f"{layer}.output.dense")), f"{layer}.output.LayerNorm")
    graph.nodes[-1].output[0] = "last_hidden_state"
    tokens = [(name, "int64", ["batch_size", "sequence_length"]) for name in inputs]
    hidden = ["batch_size", "sequence_length", config.hidden_size]
    return graph.model(tokens, [("last_hidden_state", "float32", hidden)])


def rms_normed(graph, x, key, eps, gain=0.0):
    """In f32 whatever the graph's type, as the models compute it."""
    eps = graph.initializer("epsilon", numpy.float32(eps))
    x = graph.cast(x, "float32")
    squares = graph.op("ReduceMean", graph.op("Mul", x, x), [-1], keepdims=1)
    x = graph.op("Div", x, graph.op("Sqrt", graph.op("Add", squares, eps)))
    return graph.op("Mul", graph.cast(x, graph.dtype), graph.weight(key, lambda weight: weight + numpy.float32(gain)))


def angles(graph, positions, theta, head_dim):
    """Cosines and sines (B, 1, L, D) of int64 positions (B, L), in the graph's type."""
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim
    inverse = graph.initializer(f"inverse_frequencies_{theta}", (1.0 / theta**exponents).numpy())
    positions = graph.op("Unsqueeze", graph.cast(positions, "float32"), [1, 3])
    half = graph.op("Mul", positions, inverse)
    both = graph.op("Concat", half, half, axis=-1)
    return [graph.cast(graph.op(kind, both), graph.dtype) for kind in ("Cos", "Sin")]


def rotated(graph, x, cosines, sines, head_dim):
    """RoPE over the two halves of each head."""
    low = graph.op("Slice", x, [0], [head_dim // 2], [3])
    high = graph.op("Slice", x, [head_dim // 2], [head_dim], [3])
    turned = graph.op("Concat", graph.op("Neg", high), low, axis=-1)
    return graph.op("Add", graph.op("Mul", x, cosines), graph.op("Mul", turned, sines))


def repeated(graph, x, config):
    """Each key or value head once for every query head that reads it: (B, KV, L, D) to (B, H, L, D)."""
    heads = config.num_attention_heads
    x = graph.op("Tile", graph.op("Unsqueeze", x, [2]), [1, 1, heads // config.num_key_value_heads, 1, 1])
    return graph.op("Reshape", x, [0, heads, -1, config.head_dim])


def qkv(graph, x, key, config, eps, gain, turn):
    """Queries, keys and values after the head norms and RoPE: (B, heads, L, D)."""
    q = graph.heads(graph.linear(x, f"{key}.q_proj"), config.num_attention_heads)
    k = graph.heads(graph.linear(x, f"{key}.k_proj"), config.num_key_value_heads)
    v = graph.heads(graph.linear(x, f"{key}.v_proj"), config.num_key_value_heads)
    q = rms_normed(graph, q, f"{key}.q_norm.weight", eps, gain)
    k = rms_normed(graph, k, f"{key}.k_norm.weight", eps, gain)
    return [rotated(graph, x, *turn, config.head_dim) for x in (q, k)] + [v]


def gated(graph, x, key, activation):
    gate = activation(graph.linear(x, f"{key}.gate_proj"))
    return graph.linear(graph.op("Mul", gate, graph.linear(x, f"{key}.up_proj")), f"{key}.down_proj")


def qwen3(model, dtype):
    """Qwen3Model as exported for generation: positions and the keys and values of a past are inputs."""
    config, graph = model.config, Graph(model.state_dict(), dtype)
    kv = config.num_key_value_heads
    past = [f"past_key_values.{layer}.{kind}" for layer in range(config.num_hidden_layers) for kind in ("key", "value")]
    length, total = graph.size("input_ids", 1), graph.size("attention_mask", 1)
    columns = graph.op("Range", 0, graph.op("Squeeze", total, [0]), 1)
    rows = graph.op("Slice", columns, graph.op("Sub", total, length), total, [0])
    causal = graph.op("LessOrEqual", columns, graph.op("Unsqueeze", rows, [1]))
    real = graph.op("Unsqueeze", graph.cast("attention_mask", "bool"), [1, 2])
    bias = graph.bias(graph.op("And", causal, real))
    turn = angles(graph, "position_ids", config.rope_parameters["rope_theta"], config.head_dim)
    x = graph.op("Gather", graph.weight("embed_tokens.weight"), "input_ids")
    for index in range(config.num_hidden_layers):
        key = f"layers.{index}"
        normed = rms_normed(graph, x, f"{key}.input_layernorm.weight", config.rms_norm_eps)
        q, k, v = qkv(graph, normed, f"{key}.self_attn", config, config.rms_norm_eps, 0.0, turn)
        k = graph.op("Concat", past[2 * index], k, axis=2)
        v = graph.op("Concat", past[2 * index + 1], v, axis=2)
        graph.nodes[-2].output[0], graph.nodes[-1].output[0] = f"present.{index}.key", f"present.{index}.value"
        k, v = (repeated(graph, f"present.{index}.{kind}", config) for kind in ("key", "value"))
        attended = graph.attention(q, k, v, bias, config.head_dim**-0.5)
        x = graph.op("Add", x, graph.linear(attended, f"{key}.self_attn.o_proj"))
        normed = rms_normed(graph, x, f"{key}.post_attention_layernorm.weight", config.rms_norm_eps)
        silu = lambda gate: graph.op("Mul", gate, graph.op("Sigmoid", gate))
        x = graph.op("Add", x, gated(graph, normed, f"{key}.mlp", silu))
    rms_normed(graph, x, "norm.weight", config.rms_norm_eps)
    graph.nodes[-1].output[0] = "last_hidden_state"

    tokens = ["batch_size", "sequence_length"]
    inputs = [("input_ids", "int64", tokens), ("attention_mask", "int64", ["batch_size", "total_sequence_length"]),
              ("position_ids", "int64", tokens)]
    inputs += [(name, dtype, ["batch_size", kv, "past_sequence_length", config.head_dim]) for name in past]
    outputs = [("last_hidden_state", dtype, tokens + [config.hidden_size])]
    outputs += [(name.replace("past_key_values", "present"), dtype,
                 ["batch_size", kv, "total_sequence_length", config.head_dim]) for name in past]
    return graph.model(inputs, outputs)


def gemma(model, dense):
    """Gemma3TextModel without causality, mean pooling, the two dense layers and the normalisation in the graph."""
    config, graph = model.config, Graph(model.state_dict() | dense)
    mask = graph.op("Unsqueeze", graph.cast("attention_mask", "bool"), [1, 2])
    bias = graph.bias(mask)
    positions = graph.op("Range", 0, graph.op("Squeeze", graph.size("input_ids", 1), [0]), 1)
    positions = graph.op("Unsqueeze", positions, [0])
    turns = {kind: angles(graph, positions, rope["rope_theta"], config.head_dim)
             for kind, rope in config.rope_parameters.items()}
    x = graph.op("Gather", graph.weight("embed_tokens.weight"), "input_ids")
    x = graph.op("Mul", x, config.hidden_size**0.5)
    norm = lambda x, key: rms_normed(graph, x, f"{key}.weight", config.rms_norm_eps, gain=1.0)
    for index, kind in enumerate(config.layer_types):
        key = f"layers.{index}"
        q, k, v = qkv(graph, norm(x, f"{key}.input_layernorm"), f"{key}.self_attn", config,
                      config.rms_norm_eps, 1.0, turns[kind])
        k, v = (repeated(graph, part, config) for part in (k, v))
        attended = graph.linear(graph.attention(q, k, v, bias, config.query_pre_attn_scalar**-0.5), f"{key}.self_attn.o_proj")
        x = graph.op("Add", x, norm(attended, f"{key}.post_attention_layernorm"))
        wide = gated(graph, norm(x, f"{key}.pre_feedforward_layernorm"), f"{key}.mlp", lambda gate: gelu_tanh(graph, gate))
        x = graph.op("Add", x, norm(wide, f"{key}.post_feedforward_layernorm"))
    norm(x, "norm")
    graph.nodes[-1].output[0] = "last_hidden_state"

    weights = graph.cast(graph.op("Unsqueeze", "attention_mask", [2]), "float32")
    total = graph.op("ReduceSum", graph.op("Mul", "last_hidden_state", weights), [1], keepdims=0)
    x = graph.op("Div", total, graph.op("ReduceSum", weights, [1], keepdims=0))
    for name in ("dense.0", "dense.1"):
        x = graph.linear(x, name)
    length = graph.op("Sqrt", graph.op("ReduceSum", graph.op("Mul", x, x), [1], keepdims=1))
    graph.op("Div", x, length)
    graph.nodes[-1].output[0] = "sentence_embedding"
    tokens = ["batch_size", "sequence_length"]
    return graph.model(
        [("input_ids", "int64", tokens), ("attention_mask", "int64", tokens)],
        [("last_hidden_state", "float32", tokens + [config.hidden_size]),
         ("sentence_embedding", "float32", ["batch_size", config.hidden_size])],
    )


def gelu_tanh(graph, x):
    cube = graph.op("Mul", graph.op("Mul", x, x), x)
    inner = graph.op("Mul", graph.op("Add", x, graph.op("Mul", cube, 0.044715)), math.sqrt(2 / math.pi))
    return graph.op("Mul", graph.op("Mul", x, 0.5), graph.op("Add", graph.op("Tanh", inner), 1.0))
