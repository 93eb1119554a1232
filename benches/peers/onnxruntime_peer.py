"""ONNX Runtime driven from Python as a peer: `onnxruntime_peer.py CHECKPOINT f32|int8 THREADS`.

The graph that one would write by hand: standard operators of opset 23, QKV and gate/up fused; in int8
DynamicQuantizeMatMul, weights per channel and activations per tensor.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import protocol

import numpy
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from safetensors import safe_open

from tokens import Tokens

CONTRIB = "com.microsoft"
POSITIONS = 4096


class HandWritten:
    """The whole model as one session."""

    def __init__(self, checkpoint, precision, threads):
        self.precision = precision
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

    def __call__(self, ids):
        rows, tokens = ids.shape
        feed = {"ids": ids, "positions": numpy.tile(numpy.arange(tokens), (rows, 1))}
        return self.session.run(None, feed)[0]

    def _model(self):
        config = self.config
        heads, kv_heads, width = config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]
        angles = numpy.outer(numpy.arange(POSITIONS), config["rope_theta"] ** (-numpy.arange(0, width, 2) / width))
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
        keys = self.file.keys()
        return self.file.get_tensor(key if key in keys else f"model.{key}").float().numpy()

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
        if self.precision == "f32":
            return self._node("MatMul", [x, self._weight(matrix.T)])
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


def load():
    checkpoint, precision, threads = sys.argv[1:]
    session = HandWritten(Path(checkpoint), precision, int(threads))
    tokens = Tokens(checkpoint)

    def embed(texts, prompt):
        vectors = [None] * len(texts)
        for places, matrix in tokens.by_length(texts, prompt):
            rows = session(matrix)
            rows = rows / numpy.linalg.norm(rows, axis=1, keepdims=True)
            for place, row in zip(places, rows):
                vectors[place] = row
        return vectors

    return embed


protocol.serve(f"ONNX Runtime {onnxruntime.__version__}", load)
