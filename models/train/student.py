"""The student: Qwen3's dense architecture in a few lines, fast for short texts on a processor.

Same arithmetic and the same parameter names as transformers' Qwen3Model (the golden vectors and evaluate.py check the
exported files against it). Three savings: no padding mask, since a causal model with right padding needs none; the
last layer computes only the last token's row; the keys and values of a prompt are computed once for all its queries.
"""

import math

import torch
from torch import nn
from torch.nn import functional

from recipe import SHAPE


def multiplied_in():
    """bf16 where the processor multiplies it in hardware, f32 elsewhere, where bf16 takes three times as long."""
    able = torch.cpu.get_capabilities()
    return torch.bfloat16 if any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16")) else torch.float32


class Norm(nn.Module):
    def __init__(self, width, gain=1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.full((width,), gain))

    def forward(self, x):
        return functional.rms_norm(x, x.shape[-1:], self.weight, SHAPE.rms_norm_eps)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        queries, keys = SHAPE.num_attention_heads * SHAPE.head_dim, SHAPE.num_key_value_heads * SHAPE.head_dim
        self.q_proj = nn.Linear(SHAPE.hidden_size, queries, bias=False)
        self.k_proj = nn.Linear(SHAPE.hidden_size, keys, bias=False)
        self.v_proj = nn.Linear(SHAPE.hidden_size, keys, bias=False)
        self.o_proj = nn.Linear(queries, SHAPE.hidden_size, bias=False)
        # Small gains: every token starts by looking at all others alike.
        self.q_norm, self.k_norm = Norm(SHAPE.head_dim, 0.5), Norm(SHAPE.head_dim, 0.5)

    def forward(self, x, rows, rope, past, mask):
        """x: (B, L, D); rows: the hidden states that ask, (B, R, D); past: keys and values of a prompt, or None."""
        cos, sin = rope
        asked = slice(None) if rows is None else rows
        heads = (x.shape[0], -1, SHAPE.num_attention_heads, SHAPE.head_dim)
        kv_heads = (x.shape[0], -1, SHAPE.num_key_value_heads, SHAPE.head_dim)
        source = x if rows is None else gathered(x, rows)
        q = self.q_norm(self.q_proj(source).view(heads)).transpose(1, 2)  # (B, L, H, D) -> (B, H, L, D)
        k = self.k_norm(self.k_proj(x).view(kv_heads)).transpose(1, 2)
        v = self.v_proj(x).view(kv_heads).transpose(1, 2)
        q, k = rotated(q, cos[asked], sin[asked], rows is not None), rotated(k, cos, sin, False)
        kept = (k, v)
        if past is not None:
            k, v = (torch.cat([p.expand(x.shape[0], -1, -1, -1), new], 2) for p, new in zip(past, kept))
        groups = SHAPE.num_attention_heads // SHAPE.num_key_value_heads
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
        scores = q @ k.transpose(-1, -2) / math.sqrt(SHAPE.head_dim) + mask
        mixed = scores.softmax(-1) @ v
        return self.o_proj(mixed.transpose(1, 2).flatten(2)), kept


class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate_proj = nn.Linear(SHAPE.hidden_size, SHAPE.intermediate_size, bias=False)
        self.up_proj = nn.Linear(SHAPE.hidden_size, SHAPE.intermediate_size, bias=False)
        self.down_proj = nn.Linear(SHAPE.intermediate_size, SHAPE.hidden_size, bias=False)

    def forward(self, x):
        return self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.input_layernorm, self.post_attention_layernorm = Norm(SHAPE.hidden_size), Norm(SHAPE.hidden_size)
        self.self_attn, self.mlp = Attention(), MLP()

    def forward(self, x, rows, rope, past, mask):
        mixed, kept = self.self_attn(self.input_layernorm(x), rows, rope, past, mask)
        x = (x if rows is None else gathered(x, rows)) + mixed
        return x + self.mlp(self.post_attention_layernorm(x)), kept


class Student(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed_tokens = nn.Embedding(SHAPE.vocab_size, SHAPE.hidden_size)
        self.layers = nn.ModuleList(Block() for _ in range(SHAPE.num_hidden_layers))
        self.norm = Norm(SHAPE.hidden_size)

    def prompt(self, x):
        """The keys and values, layer by layer, of the embedded tokens (1, L, D) that every query begins with."""
        return self._run(x, None, None)[1]

    def forward(self, x, last, past=None):
        """x: (B, L, D), embedded and right-padded; last: (B,), the last real positions. -> (B, D), final-normed."""
        return self._run(x, last, past)[0].squeeze(1)

    def shallow(self, x, last, past=None):
        """What forward gives while only the first layer's attention is in use, at a fifth of the cost."""
        before = past[0][0].shape[2] if past else 0
        mask = causal_mask(x.shape[1], before)[last][:, None, None]
        rope = rope_tables(before, x.shape[1])
        x, _ = self.layers[0](x, last, rope, past[0] if past else None, mask)
        for layer in self.layers[1:]:
            x = x + layer.mlp(layer.post_attention_layernorm(x))
        return self.norm(x).squeeze(1)

    def _run(self, x, last, past):
        length, before = x.shape[1], past[0][0].shape[2] if past else 0
        rope = rope_tables(before, length)
        causal = causal_mask(length, before)
        kept = []
        for index, layer in enumerate(self.layers):
            final = last is not None and index == len(self.layers) - 1
            mask = causal[last][:, None, None] if final else causal
            x, pair = layer(x, last if final else None, rope, past[index] if past else None, mask)
            kept.append(pair)
        return self.norm(x), kept


def causal_mask(length, before):
    return torch.full((length, before + length), -torch.inf).triu(before + 1)


def gathered(x, rows):
    return x[torch.arange(x.shape[0]), rows].unsqueeze(1)


def rope_tables(start, length):
    exponents = torch.arange(0, SHAPE.head_dim, 2) / SHAPE.head_dim
    angles = torch.arange(start, start + length)[:, None] * SHAPE.rope_theta**-exponents
    angles = torch.cat([angles, angles], -1)
    return angles.cos(), angles.sin()


def rotated(x, cos, sin, own_row):
    """x: (B, H, L, D); the tables are (L, D), or (B, D) where each sequence has its own one row."""
    if own_row:
        cos, sin = cos[:, None, None], sin[:, None, None]
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin
