"""Our f32 on ONNX Runtime against graphs written by hand for it, in turns in one run.

Each graph is the whole model over the same checkpoint and takes turns with the Rust program, case by
case: two processes, of which one computes while the other sleeps. Printed are the medians by the
clock and in processor time, which other work on the machine disturbs less, and their ratios; above 1
the hand-written graph is the faster one.
"""

import argparse
import json
import os
import statistics
import subprocess
import time
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy
import onnx
import onnxruntime
from onnx import TensorProto, helper

CONTRIB = "com.microsoft"


def tensors(path):
    """The checkpoint's bf16 tensors, by key without `model.`."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    data = numpy.memmap(path, dtype=numpy.uint8, offset=8 + length)
    for key, entry in header.items():
        if key != "__metadata__":
            begin, end = entry["data_offsets"]
            bits = data[begin:end].view(numpy.uint16).astype(numpy.uint32) << 16
            yield key.removeprefix("model."), bits.view(numpy.float32).reshape(entry["shape"])


class Graph:
    """The model's graph: weights on the left or the right of a product, fused or not, one attention or another."""

    def __init__(self, config, weights, side, fused, attention):
        self.config, self.weights = config, weights
        self.side, self.fused, self.attention = side, fused, attention
        self.nodes, self.initializers, self.values = [], [], {}

    def node(self, op, inputs, outputs=1, domain="", **attributes):
        names = [f"{op}_{len(self.nodes)}_{n}" for n in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def weight(self, name, array):
        """An initializer whose data the session is given in memory."""
        self.values[name] = onnxruntime.OrtValue.ortvalue_from_numpy(numpy.ascontiguousarray(array))
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=array.shape)
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="weights")
        self.initializers.append(tensor)
        return name

    def constant(self, values):
        name = f"constant_{len(self.initializers)}"
        array = numpy.array(values, numpy.int64)
        self.initializers.append(onnx.numpy_helper.from_array(array, name))
        return name

    def linear(self, x, *keys):
        """`x @ W.T` for each weight, as one product if they are fused."""
        if len(keys) > 1 and not self.fused:
            return [self.linear(x, key) for key in keys]
        arrays = [self.weights[key] for key in keys]
        array = arrays[0] if len(keys) == 1 else numpy.concatenate(arrays)
        if self.side == "right":
            y = self.node("MatMul", [x, self.weight(keys[0], array.T)])
        else:
            y = self.node("FusedMatMul", [self.weight(keys[0], array), x], domain=CONTRIB, transB=1)
            y = self.node("Transpose", [y], perm=[1, 0])
        if len(keys) == 1:
            return y
        return self.node("Split", [y, self.constant([len(a) for a in arrays])], len(keys), axis=-1)

    def norm(self, x, key):
        weight = self.weight(key, self.weights[key])
        return self.node("SimplifiedLayerNormalization", [x, weight], axis=-1, epsilon=1e-6)

    def skip_norm(self, x, skip, key):
        """The normed sum, and the sum."""
        weight = self.weight(key, self.weights[key])
        inputs = [x, skip, weight]
        out = self.node("SkipSimplifiedLayerNormalization", inputs, 4, domain=CONTRIB, epsilon=1e-6)
        return out[0], out[3]

    def heads(self, x, key, columns):
        """Each head normed, as (B, L, heads * D)."""
        x = self.node("Reshape", [x, self.constant([-1, columns // self.config["head_dim"], self.config["head_dim"]])])
        x = self.norm(x, key)
        return self.node("Reshape", [x, f"shape_{columns}"])

    def attend(self, q, k, v):
        h, kv = self.config["num_attention_heads"], self.config["num_key_value_heads"]
        if self.attention == "GroupQueryAttention":
            inputs = [q, k, v, "", "", "last_keys", "total_keys", "cosines", "sines"]
            attributes = {"num_heads": h, "kv_num_heads": kv, "do_rotary": 1}
            return self.node("GroupQueryAttention", inputs, 3, domain=CONTRIB, **attributes)[0]
        q = self.node("RotaryEmbedding", [q, "cosines", "sines", "positions"], num_heads=h)
        k = self.node("RotaryEmbedding", [k, "cosines", "sines", "positions"], num_heads=kv)
        return self.node("Attention", [q, k, v], is_causal=1, q_num_heads=h, kv_num_heads=kv)

    def attend_last(self, q, k, v):
        """Of the last tokens (B, H * D); all texts of a case are equally long, so without a mask."""
        h, kv = self.config["num_attention_heads"], self.config["num_key_value_heads"]
        q = self.node("Reshape", [q, self.constant([-1, 1, h * self.config["head_dim"]])])
        q = self.node("RotaryEmbedding", [q, "cosines", "sines", "last_positions"], num_heads=h)
        k = self.node("RotaryEmbedding", [k, "cosines", "sines", "positions"], num_heads=kv)
        return self.node("Attention", [q, k, v], q_num_heads=h, kv_num_heads=kv)

    def build(self):
        config = self.config
        columns = config["num_attention_heads"] * config["head_dim"]
        kv_columns = config["num_key_value_heads"] * config["head_dim"]
        shape = self.node("Shape", ["positions"])
        for n in {columns, kv_columns}:
            self.nodes.append(helper.make_node("Concat", [shape, self.constant([n])], [f"shape_{n}"], axis=0))
        table = self.weight("embed_tokens.weight", self.weights["embed_tokens.weight"])
        x = self.node("Gather", [table, "ids"])
        normed = self.norm(x, "layers.0.input_layernorm.weight")
        layers = config["num_hidden_layers"]
        for n in range(layers):
            key = lambda name: f"layers.{n}.{name}.weight"
            qkv = [key(f"self_attn.{part}_proj") for part in "qkv"]
            last = n + 1 == layers
            if last:
                k, v = self.linear(normed, *qkv[1:])
                q = self.linear(self.node("Gather", [normed, "last_tokens"]), qkv[0])
                x = self.node("Gather", [x, "last_tokens"])
                q = self.node("Reshape", [q, self.constant([-1, config["num_attention_heads"], config["head_dim"]])])
                q = self.norm(q, key("self_attn.q_norm"))
            else:
                q, k, v = self.linear(normed, *qkv)
                q = self.heads(q, key("self_attn.q_norm"), columns)
            k = self.heads(k, key("self_attn.k_norm"), kv_columns)
            v = self.node("Reshape", [v, f"shape_{kv_columns}"])
            a = self.attend_last(q, k, v) if last else self.attend(q, k, v)
            a = self.node("Reshape", [a, self.constant([-1, columns])])
            a = self.linear(a, key("self_attn.o_proj"))
            normed, x = self.skip_norm(x, a, key("post_attention_layernorm"))
            gate, up = self.linear(normed, key("mlp.gate_proj"), key("mlp.up_proj"))
            gate = self.node("Mul", [gate, self.node("Sigmoid", [gate])])
            down = self.linear(self.node("Mul", [gate, up]), key("mlp.down_proj"))
            normed, x = self.skip_norm(x, down, "norm.weight" if last else f"layers.{n + 1}.input_layernorm.weight")
        return self.model(normed)

    def model(self, output):
        i64, i32, f32 = TensorProto.INT64, TensorProto.INT32, TensorProto.FLOAT
        half = self.config["head_dim"] // 2
        inputs = {
            "ids": (i64, ["T"]), "positions": (i64, ["B", "L"]), "last_tokens": (i64, ["B"]),
            "last_positions": (i64, ["B", 1]), "cosines": (f32, ["M", half]), "sines": (f32, ["M", half]),
            "last_keys": (i32, ["B"]), "total_keys": (i32, []),
        }  # fmt: skip
        inputs = [helper.make_tensor_value_info(name, *kind) for name, kind in inputs.items()]
        outputs = [helper.make_tensor_value_info(output, f32, ["B", self.config["hidden_size"]])]
        graph = helper.make_graph(self.nodes, "model", inputs, outputs, self.initializers)
        opsets = [helper.make_opsetid("", 23), helper.make_opsetid(CONTRIB, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)


class HandWritten:
    def __init__(self, graph, threads):
        model = graph.build()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_external_initializers(list(graph.values), list(graph.values.values()))
        self.session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self.config = graph.config
        del graph.values

    def run(self, rows, tokens):
        """The rows, and milliseconds by the clock and of processor time."""
        half = self.config["head_dim"] // 2
        frequencies = self.config["rope_theta"] ** (-numpy.arange(half) / half)
        angles = numpy.arange(tokens)[:, None] * frequencies
        feeds = {
            "ids": ids(rows, tokens).reshape(-1),
            "positions": numpy.tile(numpy.arange(tokens), (rows, 1)),
            "last_tokens": numpy.arange(1, rows + 1) * tokens - 1,
            "last_positions": numpy.full((rows, 1), tokens - 1),
            "cosines": numpy.cos(angles).astype(numpy.float32),
            "sines": numpy.sin(angles).astype(numpy.float32),
            "last_keys": numpy.full(rows, tokens - 1, numpy.int32),
            "total_keys": numpy.array(tokens, numpy.int32),
        }
        wanted = {entry.name for entry in self.session.get_inputs()}
        feeds = {name: value for name, value in feeds.items() if name in wanted}
        started = time.perf_counter(), time.process_time()
        out = self.session.run(None, feeds)[0]
        ended = time.perf_counter(), time.process_time()
        return out, [(b - a) * 1e3 for a, b in zip(started, ended)]


class Ours:
    """The Rust program, which answers with milliseconds."""

    def __init__(self, command, checkpoint, threads):
        variables = {"QWEN3_BENCH_CHECKPOINT": str(checkpoint), "QWEN3_BENCH_THREADS": str(threads)}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | variables
        )
        assert self.process.stdout.readline() == "ready\n", "the Rust program did not start"

    def run(self, rows, tokens):
        self.process.stdin.write(f"{rows} {tokens}\n")
        self.process.stdin.flush()
        return [float(part) for part in self.process.stdout.readline().split()]


def ids(rows, tokens):
    """As benches/onnx.rs makes them."""
    row, token = numpy.arange(rows)[:, None], numpy.arange(tokens)[None]
    return (row * 7919 + token * 104729 + 11) % 151000


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("program", nargs=argparse.REMAINDER, help="benches/onnx.rs, built, and its arguments")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cases", default="1x16,8x32,8x256", help="rows x tokens, with commas between")
    parser.add_argument("--only", help="a part of the name of the graphs to run")
    options = parser.parse_args()
    config = json.loads((options.checkpoint / "config.json").read_text())
    weights = dict(tensors(options.checkpoint / "model.safetensors"))
    ours = Ours([*options.program, "--serve"], options.checkpoint, options.threads)
    cases = [tuple(int(n) for n in case.split("x")) for case in options.cases.split(",")]
    vectors = {}
    for weights_on in ("right", "left"):
        for fused in (False, True):
            for attention in ("Attention", "GroupQueryAttention"):
                name = f"{weights_on}, {'fused' if fused else 'separate'}, {attention}"
                if (weights_on == "left" and fused) or (options.only and options.only not in name):
                    continue
                graph = HandWritten(Graph(config, weights, weights_on, fused, attention), options.threads)
                for case in cases:
                    times = [], []  # ours, the graph's
                    for _ in range(options.rounds + 1):
                        vector, time_of_graph = graph.run(*case)
                        times[0].append(ours.run(*case))
                        times[1].append(time_of_graph)
                    worst = abs(vector - vectors.setdefault(case, vector)).max()
                    assert worst < 1e-3, f"the graphs differ by {worst}"
                    for n, kind in enumerate(("clock", "processor")):
                        a, b = (statistics.median(t[n] for t in side[1:]) for side in times)
                        text = f"ours {a:.1f} ms, {name} {b:.1f} ms, ratio {a / b:.3f}"
                        print(f"{case[0]} x {case[1]}, {kind}: {text}", flush=True)
                del graph


if __name__ == "__main__":
    main()
