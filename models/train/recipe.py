"""The numbers of the recipe: shape, sizes, schedule. Every script reads them here."""

import math
from dataclasses import dataclass

import places  # noqa: F401  (finds common)
from common import Shape

SEED = 20250605

# Tokens of the byte-level BPE; the seven added ones follow.
BASE_TOKENS = 12_281

SHAPE = Shape(
    vocab_size=BASE_TOKENS + 7,
    hidden_size=192,
    intermediate_size=384,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=64,
    max_position_embeddings=512,
    rms_norm_eps=1e-6,
    rope_theta=1_000_000,
    tie_word_embeddings=True,
)

# Matryoshka sizes: all dimensions, a half, a quarter, an eighth.
SIZES = [SHAPE.hidden_size // divisor for divisor in (1, 2, 4, 8)]

# Longest text in tokens, the end of sequence included.
LONGEST = 64

# Texts of one meaning that come together, and how many such groups make a step.
GROUP, GROUPS = 8, 32
CLUSTERS = 1500

BAG_EPOCHS, BAG_BATCH, BAG_RATE, BAG_SIMILARITY_WEIGHT = 5, 2048, 0.25, 2.0

WEIGHT_DECAY = 0.01
# Weight of the similarity matrices beside the cosines.
SIMILARITY_WEIGHT = 10.0
# Weight of the order of each text's neighbours, and the temperature at which the nearest count.
ORDER_WEIGHT, ORDER_TEMPERATURE = 0.3, 0.05


@dataclass(frozen=True)
class Phase:
    """A part of the training with a schedule of its own."""

    steps: int
    batches: int
    rate: float
    embedding_rate: float
    # Whether only the first layer attends to other tokens, which is five times cheaper.
    shallow: bool
    # Whether it reads world/ and a share of the rest, not everything.
    last: bool = False

    def factor(self, step):
        """Of the rates: a linear warm-up, then half a cosine down to nothing."""
        if step < WARM_UP:
            return (step + 1) / WARM_UP
        return (1 + math.cos(math.pi * (step - WARM_UP) / (self.steps - WARM_UP))) / 2


WARM_UP = 30
PHASES = [
    Phase(steps=3000, batches=2, rate=1e-3, embedding_rate=1.5e-3, shallow=True),
    Phase(steps=700, batches=2, rate=7e-4, embedding_rate=1e-3, shallow=True),
    Phase(steps=4000, batches=1, rate=7e-4, embedding_rate=3e-4, shallow=False),
    Phase(steps=1200, batches=1, rate=6e-4, embedding_rate=1e-3, shallow=False, last=True),
]
# Of the texts that are not of world/, what the last phase reads.
LAST_SHARE = 0.15
