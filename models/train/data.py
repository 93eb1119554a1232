"""What a training step reads: token ids, the teacher's vectors with the telling dimensions first, batches."""

import numpy
import torch
from tokenizers import Tokenizer
from torch.nn.functional import kl_div

from places import WORK
from common import QUERY_PROMPT
from recipe import CLUSTERS, GROUP, GROUPS, LONGEST, ORDER_TEMPERATURE, SEED, SHAPE, SIZES
from teacher import read_texts

# Dimensions in which texts are grouped: enough to tell topics apart.
CLUSTER_DIMENSIONS = 96
# Share of the readings with the first letter's case turned, and in the other role.
TURNED, OTHER_ROLE = 0.35, 0.35


class Data:
    """Every text has four readings, as a document or a query, as it stands or with its first letter's case turned.

    The teacher does not tell them apart, so each trains on the text's one vector. A reading is a number: the text's
    own, plus the count of texts times two for a query, plus the count of texts for the turned letter.
    """

    def __init__(self):
        texts = read_texts()
        last = torch.tensor([text["last"] for text in texts])
        self.count = len(texts)
        self.tokenizer = Tokenizer.from_file(str(WORK / "tokenizer.json"))
        self.eos = self.tokenizer.token_to_id("<|endoftext|>")
        # The colon that ends the prompt may merge with what follows, so it is not part of the shared ids.
        self.prompt_ids = self.tokenizer.encode(QUERY_PROMPT, add_special_tokens=False).ids[:-1]
        self.held_out = torch.tensor([text["held_out"] for text in texts])
        self.asked = torch.tensor([text["role"] == "query" for text in texts])
        self._read([text["text"] for text in texts])
        teacher = torch.from_numpy(numpy.load(WORK / "teacher.npy")).float()
        self.teacher = torch.nn.functional.normalize(teacher, dim=-1)
        self.training = (~self.held_out).nonzero().squeeze(1)
        self.last = last[self.training].nonzero().squeeze(1)
        self.turn(principal_directions(self.teacher[self.training])[:, : SHAPE.hidden_size])

    def turn(self, rotation):
        """Aims at the teacher's vectors in these directions (384, D)."""
        self.rotation = rotation
        self.targets = self.teacher @ rotation

    def _read(self, texts):
        """The ids of all readings, one after the other; a query's are those after the shared prompt."""
        parts, lengths = [], []
        for query in (False, True):
            for turned in (False, True):
                spelled = [text[0].swapcase() + text[1:] if turned else text for text in texts]
                for encoding in self.tokenizer.encode_batch([(QUERY_PROMPT if query else "") + t for t in spelled]):
                    ids = encoding.ids
                    if query:
                        assert ids[: len(self.prompt_ids)] == self.prompt_ids
                        ids = ids[len(self.prompt_ids) :]
                    ids = ids if len(ids) <= LONGEST else ids[: LONGEST - 1] + [self.eos]
                    parts.append(numpy.array(ids, numpy.int32))
                    lengths.append(len(ids))
        self.ids = torch.from_numpy(numpy.concatenate(parts))
        self.lengths = torch.tensor(lengths)
        self.starts = self.lengths.cumsum(0) - self.lengths

    def own(self, rows):
        """The readings of the texts as they stand, in their own role."""
        return rows + self.asked[rows] * 2 * self.count

    def any(self, rows, random):
        """Readings of the texts, mostly in their own role and mostly as they stand."""
        turned = torch.rand(len(rows), generator=random) < TURNED
        other = torch.rand(len(rows), generator=random) < OTHER_ROLE
        return rows + ((self.asked[rows] ^ other) * 2 + turned) * self.count

    def is_query(self, readings):
        return readings >= 2 * self.count

    def vectors(self, readings):
        """(targets, teacher): the student's aim and the teacher's own vectors."""
        return self.targets[readings % self.count], self.teacher[readings % self.count]

    def padded(self, readings):
        """(ids, last): right-padded, and each reading's last position."""
        last = self.lengths[readings] - 1
        places = torch.arange(int(last.max()) + 1)
        ids = self.ids[self.starts[readings, None] + torch.minimum(places, last[:, None])]
        # What is repeated behind the end is the end of sequence.
        return ids.long(), last

    def joined(self, readings):
        """(ids, offsets): one after the other, without padding."""
        lengths = self.lengths[readings]
        offsets = lengths.cumsum(0) - lengths
        shift = (self.starts[readings] - offsets).repeat_interleave(lengths)
        return self.ids[shift + torch.arange(len(shift))].long(), offsets

    def clusters(self):
        """The group of each training text: k-means on the teacher's first dimensions, kept in a file."""
        path = WORK / "clusters.npy"
        if not path.exists():
            numpy.save(path, k_means(self.targets[self.training, :CLUSTER_DIMENSIONS]).numpy())
        return torch.from_numpy(numpy.load(path))

    def epoch(self, number, clusters, places):
        """Steps of GROUPS groups of GROUP texts each; a group's texts are of one cluster. `places` are those of the
        texts among the ones for training."""
        random = torch.Generator().manual_seed(SEED + number)
        shuffled = places[torch.randperm(len(places), generator=random)]
        together = shuffled[clusters[shuffled].argsort(stable=True)]
        groups = self.training[together[: len(together) // GROUP * GROUP]].view(-1, GROUP)
        groups = groups[torch.randperm(len(groups), generator=random)]
        return groups[: len(groups) // GROUPS * GROUPS].view(-1, GROUPS * GROUP)


def principal_directions(vectors):
    """[384, 384], strongest direction first; not centred, so that cosines keep their meaning."""
    _, directions = torch.linalg.eigh(vectors.T @ vectors)
    return directions.flip(1)


def directions_of(vectors, teacher):
    """[384, D] of length 1 at right angles, in which the teacher's vectors are nearest to these: those that a trained
    student was aimed at."""
    left, _, right = torch.linalg.svd(teacher.T @ torch.nn.functional.normalize(vectors, dim=-1), full_matrices=False)
    return left @ right


def k_means(vectors, rounds=6):
    random = torch.Generator().manual_seed(SEED)
    vectors = torch.nn.functional.normalize(vectors, dim=-1)
    centres = vectors[torch.randperm(len(vectors), generator=random)[:CLUSTERS]]
    for _ in range(rounds):
        nearest = torch.cat([(block @ centres.T).argmax(1) for block in vectors.split(8192)])
        sums = torch.zeros_like(centres).index_add_(0, nearest, vectors)
        centres = torch.nn.functional.normalize(sums, dim=-1)
    return nearest


def nearness(similarities):
    """The log of how near each text is to the others: the softmax of its similarities to all but itself."""
    itself = torch.eye(len(similarities), dtype=torch.bool)
    return (similarities / ORDER_TEMPERATURE).masked_fill(itself, -1e4).log_softmax(-1)


def distillation_loss(student, targets, teacher, similarity_weight, order_weight=0.0):
    """At every size: cosine to the teacher's vector, the matrix of similarities to the teacher's, and which texts of the
    batch are nearest to each (the divergence of their nearness from the teacher's)."""
    wanted = teacher @ teacher.T
    order = nearness(wanted) if order_weight else None
    losses, cosines = [], []
    for size in SIZES:
        vectors = torch.nn.functional.normalize(student[:, :size], dim=-1)
        cosine = (vectors * torch.nn.functional.normalize(targets[:, :size], dim=-1)).sum(-1).mean()
        similarities = vectors @ vectors.T
        loss = 1 - cosine + similarity_weight * (similarities - wanted).square().mean()
        if order_weight:
            divergence = kl_div(nearness(similarities), order, reduction="batchmean", log_target=True)
            loss = loss + order_weight * divergence
        losses.append(loss)
        cosines.append(cosine.item())
    return sum(losses) / len(losses), cosines
