"""Writes a Qwen3 checkpoint as a GGUF file for llama.cpp: `to_gguf.py CHECKPOINT bf16|q8_0 OUT`.

Matrices in the type that is named, vectors in f32; the tokenizer ends each text with the EOS, and vectors are
those of the last token.
"""

import json
import os
import sys
from pathlib import Path

import gguf
import numpy

TYPES = {
    "bf16": (gguf.GGMLQuantizationType.BF16, gguf.LlamaFileType.MOSTLY_BF16),
    "q8_0": (gguf.GGMLQuantizationType.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
}
EOS = 151643


def write_sizes(writer, config, file_type):
    theta = config.get("rope_theta") or config["rope_parameters"]["rope_theta"]
    writer.add_file_type(file_type)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_rope_freq_base(theta)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_pooling_type(gguf.PoolingType.LAST)


def write_tokenizer(writer, file, rows):
    """Rows of the table without a token get a name that no text has."""
    tokenizer = json.loads(file.read_text())
    tokens = [f"[unused {row}]".encode() for row in range(rows)]
    types = [gguf.TokenType.UNUSED] * rows
    for token, row in tokenizer["model"]["vocab"].items():
        tokens[row], types[row] = token.encode(), gguf.TokenType.NORMAL
    for added in tokenizer["added_tokens"]:
        kind = gguf.TokenType.CONTROL if added["special"] else gguf.TokenType.USER_DEFINED
        tokens[added["id"]], types[added["id"]] = added["content"].encode(), kind
    merges = tokenizer["model"]["merges"]
    eos = next((a["id"] for a in tokenizer["added_tokens"] if a["content"] == "<|endoftext|>"), EOS)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    writer.add_eos_token_id(eos)
    writer.add_pad_token_id(eos)
    writer.add_add_eos_token(True)
    writer.add_add_bos_token(False)


def write_tensors(writer, file, config, kind):
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN3, config["num_hidden_layers"])
    begin, entries = header(file)
    for key, entry in entries.items():
        if key in ("__metadata__", "lm_head.weight"):
            continue
        values = f32(file, begin, entry)
        name = names.get_name(f"model.{key.removeprefix('model.')}", try_suffixes=(".weight",))
        if values.ndim == 1:
            writer.add_tensor(name, values)
        else:
            writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)


def header(file):
    with open(file, "rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        return 8 + length, json.loads(opened.read(length))


def f32(file, begin, entry):
    """numpy has no bf16."""
    first, last = entry["data_offsets"]
    data = numpy.memmap(file, numpy.uint8, "r", begin + first, (last - first,))
    if entry["dtype"] == "BF16":
        data = (data.view(numpy.uint16).astype(numpy.uint32) << 16).view(numpy.float32)
    else:
        data = data.view({"F32": numpy.float32, "F16": numpy.float16}[entry["dtype"]]).astype(numpy.float32)
    return data.reshape(entry["shape"])


def main():
    checkpoint, precision, out = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    config = json.loads((checkpoint / "config.json").read_text())
    kind, file_type = TYPES[precision]
    unfinished = out.with_suffix(".unfinished")
    writer = gguf.GGUFWriter(unfinished, "qwen3")
    write_sizes(writer, config, file_type)
    write_tokenizer(writer, checkpoint / "tokenizer.json", config["vocab_size"])
    write_tensors(writer, checkpoint / "model.safetensors", config, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    os.replace(unfinished, out)


if __name__ == "__main__":
    main()
