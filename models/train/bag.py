"""Where the student starts: token embeddings that, merely averaged, already resemble the teacher.

The first layer of a fresh student looks at all tokens alike, so it is an average of normalised embeddings. That average
is fitted here, which costs a thousandth of a training step per text; the layer's values carry the first dimensions,
and a token that means nothing hides in the others.
"""

import torch
from torch.nn import functional

from data import distillation_loss
from recipe import BAG_BATCH, BAG_EPOCHS, BAG_RATE, BAG_SIMILARITY_WEIGHT, SEED, SHAPE
from teacher import Teacher

# What a value projection lets through.
CARRIED = SHAPE.num_key_value_heads * SHAPE.head_dim
# Rows of the similarity matrices.
COMPARED = 256
# The embeddings' own size in the residual stream: small beside what the layers add, the last token's above all.
EMBEDDING_SIZE, EOS_SIZE = 0.1, 0.005
# The average's: large beside the first, still blind, steps of the other weights.
AVERAGE_SIZE = 4.0


def initialise(student, data):
    table = fitted(data)
    with torch.no_grad():
        student.embed_tokens.weight.copy_(functional.rms_norm(table, table.shape[-1:]) * EMBEDDING_SIZE)
        student.embed_tokens.weight[data.eos] *= EOS_SIZE / EMBEDDING_SIZE
        for layer in student.layers:
            torch.nn.init.zeros_(layer.self_attn.o_proj.weight)
            torch.nn.init.zeros_(layer.mlp.down_proj.weight)
        average = student.layers[0].self_attn
        average.v_proj.weight.copy_(torch.eye(CARRIED, SHAPE.hidden_size))
        average.o_proj.weight.copy_(AVERAGE_SIZE * spread_over_heads())


def spread_over_heads():
    """[D, H * head_dim]: each value dimension back to its place, shared by the heads of its group."""
    groups = SHAPE.num_attention_heads // SHAPE.num_key_value_heads
    back = torch.eye(SHAPE.hidden_size, CARRIED).view(SHAPE.hidden_size, SHAPE.num_key_value_heads, 1, SHAPE.head_dim)
    return back.expand(-1, -1, groups, -1).reshape(SHAPE.hidden_size, -1) / groups


def fitted(data):
    table = token_meanings(data).requires_grad_()
    optimizer = torch.optim.Adam([table], lr=BAG_RATE)
    steps = BAG_EPOCHS * (len(data.training) // BAG_BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, BAG_RATE, total_steps=steps, pct_start=0.05)
    prompt = torch.tensor(data.prompt_ids)
    random = torch.Generator().manual_seed(SEED)
    for step in range(steps):
        rows = data.training[torch.randint(len(data.training), (BAG_BATCH,), generator=random)]
        values = functional.rms_norm(table, table.shape[-1:])[:, :CARRIED]
        readings = data.any(rows, random)
        tokens, offsets = data.joined(readings)
        sums = functional.embedding_bag(tokens, values, offsets, mode="sum")
        sums = sums + data.is_query(readings)[:, None] * values[prompt].sum(0)
        whole = functional.pad(sums, (0, SHAPE.hidden_size - CARRIED))
        targets, teacher = data.vectors(readings)
        cosine = functional.cosine_similarity(whole, targets).mean()
        matrices, _ = distillation_loss(
            whole[:COMPARED], targets[:COMPARED], teacher[:COMPARED], BAG_SIMILARITY_WEIGHT
        )
        loss = 1 - cosine + matrices
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 200 == 0 or step == steps - 1:
            print(f"average, step {step} of {steps}: loss {loss.item():.4f}, cosine {cosine.item():.4f}", flush=True)
    return table.detach()


def token_meanings(data):
    """The teacher's vector of each token's text, in the student's dimensions."""
    texts = [data.tokenizer.decode([token]).strip() for token in range(SHAPE.vocab_size)]
    vectors = Teacher().vectors(texts) @ data.rotation
    return vectors * SHAPE.hidden_size**0.5
