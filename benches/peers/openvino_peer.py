"""OpenVINO as a peer: `openvino_peer.py CHECKPOINT int8|bf16|f32 THREADS`.

transformers' model, converted by OpenVINO's own tools. int8 is that of the weights; activations are then in
what the device prefers.
"""

import os
import sys

import protocol

os.environ["OPENVINO_TELEMETRY_OPT_OUT"] = "1"

import nncf
import numpy
import openvino
import torch
from transformers import Qwen3Model

from tokens import Tokens

PRECISIONS = {"int8": {}, "bf16": {"INFERENCE_PRECISION_HINT": "bf16"}, "f32": {"INFERENCE_PRECISION_HINT": "f32"}}


class LastToken(torch.nn.Module):
    """The last token of rows that are equally long."""

    def __init__(self, checkpoint):
        super().__init__()
        self.model = Qwen3Model.from_pretrained(checkpoint, dtype=torch.float32, attn_implementation="sdpa").eval()

    def forward(self, input_ids, attention_mask):
        output = self.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)
        return output.last_hidden_state[:, -1]


def load():
    checkpoint, precision, threads = sys.argv[1:]
    ids = torch.ones(2, 8, dtype=torch.int64)
    model = openvino.convert_model(LastToken(checkpoint), example_input=(ids, ids))
    if precision == "int8":
        model = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_ASYM)
    options = {"INFERENCE_NUM_THREADS": int(threads), "PERFORMANCE_HINT": "LATENCY", **PRECISIONS[precision]}
    compiled = openvino.compile_model(model, "CPU", options)
    tokens = Tokens(checkpoint)

    def embed(texts, prompt):
        vectors = [None] * len(texts)
        for places, matrix in tokens.by_length(texts, prompt):
            rows = compiled([matrix, numpy.ones_like(matrix)])[0]
            rows = rows / numpy.linalg.norm(rows, axis=1, keepdims=True)
            for place, row in zip(places, rows):
                vectors[place] = row
        return vectors

    return embed


protocol.serve(f"OpenVINO {openvino.__version__}", load)
