"""Times our f32 and int8 beside other int8 engines on one checkpoint, interleaved in one run, and prints ratios.

Ours runs in a child process, `cli/benches/forward.rs`; beside it run the graph that one would write by
hand for the same ONNX Runtime (standard operators, weights int8 per channel, activations per tensor)
and OpenVINO's int8 weights. Nobody else may run while this measures: look at the load it prints.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from safetensors import safe_open

CONTRIB = "com.microsoft"
CASES = ((1, 16, 15), (8, 32, 7), (8, 256, 3))


def token_ids(rows, tokens):
    return numpy.array([[1000 + (r * 7919 + t * 104729) % 99000 for t in range(tokens)] for r in range(rows)])


class Ours:
    """A child process that times its own forward passes."""

    def __init__(self, name, program, checkpoint, precision, threads):
        self.name = name
        command = [*program, checkpoint, precision, str(threads)]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.report = json.loads(self.child.stdout.readline())

    def milliseconds(self, rows, tokens):
        self.child.stdin.write(f"{rows} {tokens}\n")
        self.child.stdin.flush()
        answer = json.loads(self.child.stdout.readline())
        self.resident = answer["resident"]
        return answer["ms"]


class Plain:
    """DynamicQuantizeMatMul for every linear layer, QKV and gate/up fused, else standard operators of opset 23."""

    name = "plain per-tensor graph"

    def __init__(self, checkpoint, threads):
        self.config = json.loads((checkpoint / "config.json").read_text())
        self.nodes, self.initializers, self.constants = [], [], []
        with safe_open(checkpoint / "model.safetensors", "pt") as self.file:
            model = self._model()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        for name, value in self.initializers:
            options.add_initializer(name, value)
        # The file that the weights are said to lie in must exist, though it is not read.
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "given").touch()
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
            self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def milliseconds(self, rows, tokens):
        feed = {"ids": token_ids(rows, tokens), "positions": numpy.tile(numpy.arange(tokens), (rows, 1))}
        begin = time.perf_counter()
        self.session.run(None, feed)
        return (time.perf_counter() - begin) * 1e3

    def _model(self):
        config = self.config
        heads, kv_heads, width = config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]
        angles = numpy.outer(numpy.arange(512), 1e6 ** (-numpy.arange(0, width, 2) / width))
        cos, sin = (self._weight(f(angles).astype(numpy.float32)) for f in (numpy.cos, numpy.sin))
        x = self._node("Gather", [self._weight(self._tensor("embed_tokens.weight")), "ids"])
        for layer in range(config["num_hidden_layers"]):
            key = f"layers.{layer}."
            y = self._norm(x, key + "input_layernorm")
            qkv = self._linear(y, *(f"{key}self_attn.{part}_proj" for part in "qkv"))
            q, k, v = self._split(qkv, [heads * width, kv_heads * width, kv_heads * width])
            q = self._rope(self._head_norm(q, key + "self_attn.q_norm", heads), cos, sin, heads)
            k = self._rope(self._head_norm(k, key + "self_attn.k_norm", kv_heads), cos, sin, kv_heads)
            y = self._node("Attention", [q, k, v], q_num_heads=heads, kv_num_heads=kv_heads, is_causal=1)
            x = self._node("Add", [x, self._linear(y, key + "self_attn.o_proj")])
            y = self._norm(x, key + "post_attention_layernorm")
            fused = self._linear(y, key + "mlp.gate_proj", key + "mlp.up_proj")
            gate, up = self._split(fused, [config["intermediate_size"]] * 2)
            gate = self._node("Mul", [gate, self._node("Sigmoid", [gate])])
            x = self._node("Add", [x, self._linear(self._node("Mul", [gate, up]), key + "mlp.down_proj")])
        x = self._node("Gather", [x, self._constant(-1)], axis=1)
        x = self._norm(x, "norm")
        inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["B", "L"]) for name in ("ids", "positions")]
        outputs = [helper.make_tensor_value_info(x, TensorProto.FLOAT, None)]
        declared = [self._declared(name, value) for name, value in self.initializers]
        graph = helper.make_graph(self.nodes, "plain", inputs, outputs, declared + self.constants)
        opsets = [helper.make_opsetid("", 23), helper.make_opsetid(CONTRIB, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=11).SerializeToString()

    @staticmethod
    def _declared(name, value):
        """A weight without its data, which the session is given beside the graph."""
        dtype = helper.np_dtype_to_tensor_dtype(value.numpy().dtype)
        tensor = TensorProto(name=name, data_type=dtype, dims=value.shape(), data_location=TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value="given")
        return tensor

    def _tensor(self, key):
        return self.file.get_tensor(key).float().numpy()

    def _weight(self, array):
        name = f"weight_{len(self.initializers)}"
        value = onnxruntime.OrtValue.ortvalue_from_numpy(numpy.ascontiguousarray(array))
        self.initializers.append((name, value))
        return name

    def _constant(self, value):
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(numpy.array(value, numpy.int64), name))
        return name

    def _node(self, op, inputs, domain="", outputs=1, **attributes):
        names = [f"{op}_{len(self.nodes)}_{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def _linear(self, x, *keys):
        matrix = numpy.concatenate([self._tensor(f"{key}.weight") for key in keys])
        scales = numpy.abs(matrix).max(1) / 127
        values = numpy.round(matrix / scales[:, None]).astype(numpy.int8).T
        return self._node("DynamicQuantizeMatMul", [x, self._weight(values), self._weight(scales)], CONTRIB)

    def _split(self, x, sizes):
        return self._node("Split", [x, self._constant(sizes)], outputs=len(sizes), axis=-1)

    def _norm(self, x, key):
        gain = self._weight(self._tensor(f"{key}.weight"))
        return self._node("RMSNormalization", [x, gain], axis=-1, epsilon=self.config["rms_norm_eps"])

    def _head_norm(self, x, key, heads):
        x = self._node("Reshape", [x, self._constant([0, 0, heads, self.config["head_dim"]])])
        flat = self._constant([0, 0, heads * self.config["head_dim"]])
        return self._node("Reshape", [self._norm(x, key), flat])

    def _rope(self, x, cos, sin, heads):
        return self._node("RotaryEmbedding", [x, cos, sin, "positions"], num_heads=heads)


class OpenVino:
    """transformers' model, converted and its weights compressed to int8 by OpenVINO's own tools."""

    name = "OpenVINO int8"

    def __init__(self, checkpoint, threads):
        import nncf
        import openvino
        import torch
        from transformers import Qwen3Model

        class LastToken(torch.nn.Module):
            def __init__(self, model):
                super().__init__()
                self.model = model

            def forward(self, input_ids, attention_mask):
                output = self.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)
                return output.last_hidden_state[:, -1]

        model = Qwen3Model.from_pretrained(checkpoint, dtype=torch.float32, attn_implementation="sdpa").eval()
        ids = torch.ones(2, 8, dtype=torch.int64)
        converted = openvino.convert_model(LastToken(model), example_input=(ids, ids))
        del model
        converted = nncf.compress_weights(converted, mode=nncf.CompressWeightsMode.INT8_ASYM)
        options = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        self.compiled = openvino.compile_model(converted, "CPU", options)

    def milliseconds(self, rows, tokens):
        feed = [token_ids(rows, tokens), numpy.ones((rows, tokens), numpy.int64)]
        begin = time.perf_counter()
        self.compiled(feed)
        return (time.perf_counter() - begin) * 1e3


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--forward", nargs="+", required=True, help="the program built from cli/benches/forward.rs")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--without", nargs="*", default=[], choices=("f32", "plain", "openvino"))
    parser.add_argument("--cases", nargs="*", type=int, default=range(len(CASES)), help="of " + str(CASES))
    options = parser.parse_args()

    ours = Ours("our int8", options.forward, options.checkpoint, "int8", options.threads)
    print("our int8:", json.dumps(ours.report))
    engines = [ours]
    if "f32" not in options.without:
        engines.append(Ours("our f32", options.forward, options.checkpoint, "f32", options.threads))
    if "plain" not in options.without:
        engines.append(Plain(options.checkpoint, options.threads))
    if "openvino" not in options.without:
        engines.append(OpenVino(options.checkpoint, options.threads))
    for rows, tokens, rounds in (CASES[case] for case in options.cases):
        times = {engine.name: [] for engine in engines}
        for _ in range(rounds + 1):
            for engine in engines:
                times[engine.name].append(engine.milliseconds(rows, tokens))
        # The first round warms up.
        medians = {name: statistics.median(found[1:]) for name, found in times.items()}
        print(f"{rows} x {tokens} tokens, medians of {rounds}, load {os.getloadavg()[0]:.1f}")
        for name, median in medians.items():
            print(f"  {name}: {median:.0f} ms, {median / medians['our int8']:.2f} of our int8", flush=True)
    resident, weights = ours.resident, ours.report["weights"]
    print(f"our int8 after all batches: resident {resident / weights:.2f} of the weights, {weights >> 20} MiB")


if __name__ == "__main__":
    main()
