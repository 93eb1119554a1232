"""Writes tests/fixtures/onnx: small models in the layouts in which ONNX files are published, with golden vectors.

The vectors are those of transformers in f32 on the same weights; the graphs are written by hand beside them.
"""

import argparse
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import torch
from tokenizers import Tokenizer
from transformers import (
    BertConfig,
    BertModel,
    Gemma3TextConfig,
    Gemma3TextModel,
    Qwen3Config,
    Qwen3Model,
    XLMRobertaConfig,
    XLMRobertaModel,
)

import onnx_families as families
import onnx_tokenizers as tokenizers
from common import AGREEMENT, QUERY_PROMPT, write_golden, write_json
from onnx_graph import with_external_data

OUT = Path(__file__).parent.parent / "tests" / "fixtures" / "onnx"
HIDDEN, MAX_TOKENS = 16, 48
SMALL = dict(hidden_size=HIDDEN, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
             initializer_range=0.4, max_position_embeddings=MAX_TOKENS)

TEXTS = [
    "",
    "a",
    "Hello, world!",
    "What is the capital of China?",
    "The capital of China is Beijing.",
    " leading, trailing and   inner   spaces ",
    "Schöne Grüße, où est l'été ? 北京 🚀",
    "[SEP] </s> <eos> <|endoftext|>",
    "one two three " * 3,
    "the vector of the text",
]

# Documents and queries as EmbeddingGemma declares them, and BGE's query prompt.
GEMMA_PROMPTS = {"query": "task: find | query: ", "document": "title: none | text: "}
BGE_PROMPTS = {"query": "Search: "}


@dataclass(frozen=True)
class Fixture:
    name: str
    seed: int
    reference: Callable
    tokenizer: Callable
    graph: Callable
    file: str
    pooling: str | None
    prompts: dict | None = None
    dense: tuple = ()
    external: str | None = None
    modules: bool = True


def bert():
    return BertModel(BertConfig(vocab_size=tokenizers.wordpiece().get_vocab_size(), **SMALL), add_pooling_layer=False)


def xlm_roberta():
    # Two positions more: they begin after the pad id, 1.
    sizes = SMALL | {"max_position_embeddings": MAX_TOKENS + 2}
    vocabulary = tokenizers.unigram().get_vocab_size()
    config = XLMRobertaConfig(vocab_size=vocabulary, type_vocab_size=1, pad_token_id=1, **sizes)
    return XLMRobertaModel(config, add_pooling_layer=False)


def qwen3():
    vocabulary = tokenizers.byte_level().get_vocab_size()
    config = Qwen3Config(vocab_size=vocabulary, num_key_value_heads=1, head_dim=8, **SMALL)
    return Qwen3Model(config)


def gemma():
    config = Gemma3TextConfig(
        vocab_size=tokenizers.bpe_with_bytes().get_vocab_size(), num_key_value_heads=1, head_dim=8,
        layer_types=["sliding_attention", "full_attention"], sliding_window=2 * MAX_TOKENS,
        query_pre_attn_scalar=8, use_bidirectional_attention=True, **SMALL,
    )
    return Gemma3TextModel(config)


def dense():
    return {f"dense.{index}.weight": torch.randn(shape) / shape[1] ** 0.5
            for index, shape in enumerate([(2 * HIDDEN, HIDDEN), (HIDDEN, 2 * HIDDEN)])}


FIXTURES = [
    Fixture("bert-mean", 1, bert, tokenizers.wordpiece, families.bert, "model.onnx", "mean_tokens"),
    Fixture("bert-cls", 2, bert, tokenizers.wordpiece,
            lambda model: families.bert(model, ("input_ids", "attention_mask")), "onnx/model.onnx", "cls_token",
            prompts=BGE_PROMPTS),
    Fixture("xlm-roberta-mean", 3, xlm_roberta, tokenizers.unigram, families.xlm_roberta, "onnx/model.onnx",
            "mean_tokens"),
    Fixture("gemma", 4, gemma, tokenizers.bpe_with_bytes, families.gemma, "onnx/model.onnx", "mean_tokens",
            prompts=GEMMA_PROMPTS, dense=("2_Dense", "3_Dense"), external="model.onnx_data"),
    Fixture("qwen3-f32", 5, qwen3, tokenizers.byte_level, lambda model: families.qwen3(model, "float32"),
            "onnx/model.onnx", "lasttoken", prompts={"query": QUERY_PROMPT}),
    Fixture("qwen3-f16", 6, qwen3, tokenizers.byte_level, lambda model: families.qwen3(model, "float16"),
            "onnx/model_fp16.onnx", None, modules=False),
]


def write_modules(fixture, out):
    dense = [("Dense", folder) for folder in fixture.dense]
    kinds = [("Transformer", ""), ("Pooling", "1_Pooling"), *dense]
    kinds.append(("Normalize", f"{len(kinds)}_Normalize"))
    write_json(out / "modules.json", [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (kind, path) in enumerate(kinds)
    ])
    modes = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")
    pooling = {f"pooling_mode_{mode}": mode == fixture.pooling for mode in modes}
    write_json(out / "1_Pooling" / "config.json", {"word_embedding_dimension": HIDDEN} | pooling | {"include_prompt": True})
    write_json(out / "sentence_bert_config.json", {"max_seq_length": MAX_TOKENS, "do_lower_case": False})
    if fixture.prompts:
        write_json(out / "config_sentence_transformers.json",
                   {"prompts": fixture.prompts, "default_prompt_name": None, "similarity_fn_name": "cosine"})


def frame(fixture, ids, tokenizer):
    """The post-processor's ids; Qwen3's one end token where the template adds none."""
    return ids + [tokenizer.token_to_id("<|endoftext|>")] if fixture.tokenizer is tokenizers.byte_level else ids


def reference_row(fixture, model, dense, ids, attention="eager"):
    """The pooled row, the sequence alone in its batch."""
    model.set_attn_implementation(attention)
    with torch.inference_mode():
        tokens = torch.tensor([ids])
        cache = {"use_cache": False} if isinstance(model, (Qwen3Model, Gemma3TextModel)) else {}
        hidden = model(input_ids=tokens, attention_mask=torch.ones_like(tokens), **cache).last_hidden_state[0]
        row = {"cls_token": hidden[0], "mean_tokens": hidden.mean(0)}.get(fixture.pooling, hidden[-1])
        if dense:
            for weight in dense.values():
                row = weight @ row
            row = row / row.norm()
    return row


def case(fixture, model, dense, tokenizer, text, prompt):
    prefix = (fixture.prompts or {}).get(prompt, "")
    ids = frame(fixture, tokenizer.encode(prefix + text).ids, tokenizer)
    assert len(ids) <= MAX_TOKENS, f"{fixture.name}: {text!r} has {len(ids)} tokens"
    row, second = (reference_row(fixture, model, dense, ids, kind) for kind in ("eager", "sdpa"))
    assert row.isfinite().all() and (row - second).abs().max() <= AGREEMENT * 10, fixture.name
    return {"text": text, "prompt": prompt, "ids": ids, "hidden": [float(f"{value:.9g}") for value in row.tolist()]}


def golden_cases(fixture, model, dense, tokenizer):
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True
    roles = ["document", "query"] if fixture.prompts else ["document"]
    for role in roles:
        for text in TEXTS:
            prefix = (fixture.prompts or {}).get(role, "")
            fits = len(tokenizer.encode(prefix + text).ids) < MAX_TOKENS
            if fits and is_plain(tokenizer, text):
                yield case(fixture, model, dense, tokenizer, text, role)


def is_plain(tokenizer, text):
    """Unigram finds special tokens in its vocabulary, also where they are to be read as plain text."""
    special = {id for id, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    special -= {tokenizer.token_to_id(unknown) for unknown in ("[UNK]", "<unk>")}
    return not special & set(tokenizer.encode(text, add_special_tokens=False).ids)


def write_fixture(fixture, out):
    torch.manual_seed(fixture.seed)
    model = fixture.reference().eval()
    extra = dense() if fixture.dense else {}
    file = out / fixture.file
    file.parent.mkdir(parents=True)
    graph = fixture.graph(model, extra) if extra else fixture.graph(model)
    if fixture.external:
        (file.parent / fixture.external).write_bytes(with_external_data(graph, fixture.external, 256))
    file.write_bytes(graph.SerializeToString(deterministic=True))
    config = model.config.to_dict() | {"architectures": [type(model).__name__]}
    del config["transformers_version"]
    write_json(out / "config.json", dict(sorted(config.items())))
    tokenizer = fixture.tokenizer()
    (out / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    if fixture.modules:
        write_modules(fixture, out)
    write_golden(out / "golden.json", list(golden_cases(fixture, model, extra, tokenizer)))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT, help="folder to write (default: tests/fixtures/onnx)")
    out = parser.parse_args().out
    shutil.rmtree(out, ignore_errors=True)
    for fixture in FIXTURES:
        write_fixture(fixture, out / fixture.name)
        print(fixture.name)


if __name__ == "__main__":
    main()
