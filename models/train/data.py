"""What a training step reads: token ids, the teacher's vectors with the telling dimensions first, batches."""

import numpy
import torch
from tokenizers import Tokenizer

from places import WORK
from common import QUERY_PROMPT
from recipe import CLUSTERS, GROUP, GROUPS, LONGEST, SEED, SHAPE, SIZES
from teacher import read_texts

# Dimensions in which texts are grouped: enough to tell topics apart.
CLUSTER_DIMENSIONS = 96


class Data:
    def __init__(self):
        texts = read_texts()
        self.tokenizer = Tokenizer.from_file(str(WORK / "tokenizer.json"))
        self.eos = self.tokenizer.token_to_id("<|endoftext|>")
        # The colon that ends the prompt may merge with what follows, so it is not part of the shared ids.
        self.prompt_ids = self.tokenizer.encode(QUERY_PROMPT, add_special_tokens=False).ids[:-1]
        self.query = torch.tensor([text["role"] == "query" for text in texts])
        self.held_out = torch.tensor([text["held_out"] for text in texts])
        self.texts = [text["text"] for text in texts]
        self.ids = [self._ids(text) for text in texts]
        teacher = torch.from_numpy(numpy.load(WORK / "teacher.npy")).float()
        self.teacher = torch.nn.functional.normalize(teacher, dim=-1)
        self.rotation = principal_directions(self.teacher[~self.held_out])
        self.targets = self.teacher @ self.rotation[:, : SHAPE.hidden_size]
        self.training = (~self.held_out).nonzero().squeeze(1)

    def _ids(self, text):
        """A query's ids are those after the shared prompt."""
        query = text["role"] == "query"
        ids = self.tokenizer.encode((QUERY_PROMPT if query else "") + text["text"]).ids
        if query:
            assert ids[: len(self.prompt_ids)] == self.prompt_ids, text["text"]
            ids = ids[len(self.prompt_ids) :]
        return ids if len(ids) <= LONGEST else ids[: LONGEST - 1] + [self.eos]

    def padded(self, rows):
        """(ids, last): right-padded, and each text's last position."""
        sequences = [torch.tensor(self.ids[row]) for row in rows]
        last = torch.tensor([len(sequence) - 1 for sequence in sequences])
        return torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True, padding_value=self.eos), last

    def clusters(self):
        """The group of each training text: k-means on the teacher's first dimensions, kept in a file."""
        path = WORK / "clusters.npy"
        if not path.exists():
            numpy.save(path, k_means(self.targets[self.training, :CLUSTER_DIMENSIONS]).numpy())
        return torch.from_numpy(numpy.load(path))

    def epoch(self, number, clusters):
        """Steps of GROUPS groups of GROUP texts each; a group's texts are of one cluster."""
        random = torch.Generator().manual_seed(SEED + number)
        shuffled = torch.randperm(len(clusters), generator=random)
        together = shuffled[clusters[shuffled].argsort(stable=True)]
        groups = self.training[together[: len(together) // GROUP * GROUP]].view(-1, GROUP)
        groups = groups[torch.randperm(len(groups), generator=random)]
        return groups[: len(groups) // GROUPS * GROUPS].view(-1, GROUPS * GROUP)


def principal_directions(vectors):
    """[384, 384], strongest direction first; not centred, so that cosines keep their meaning."""
    _, directions = torch.linalg.eigh(vectors.T @ vectors)
    return directions.flip(1)


def k_means(vectors, rounds=6):
    random = torch.Generator().manual_seed(SEED)
    vectors = torch.nn.functional.normalize(vectors, dim=-1)
    centres = vectors[torch.randperm(len(vectors), generator=random)[:CLUSTERS]]
    for _ in range(rounds):
        nearest = torch.cat([(block @ centres.T).argmax(1) for block in vectors.split(8192)])
        sums = torch.zeros_like(centres).index_add_(0, nearest, vectors)
        centres = torch.nn.functional.normalize(sums, dim=-1)
    return nearest


def distillation_loss(student, targets, teacher, similarity_weight):
    """At every size: cosine to the teacher's vector, and the matrix of similarities to the teacher's."""
    wanted = teacher @ teacher.T
    losses, cosines = [], []
    for size in SIZES:
        vectors = torch.nn.functional.normalize(student[:, :size], dim=-1)
        cosine = (vectors * torch.nn.functional.normalize(targets[:, :size], dim=-1)).sum(-1).mean()
        difference = (vectors @ vectors.T - wanted).square().mean()
        losses.append(1 - cosine + similarity_weight * difference)
        cosines.append(cosine.item())
    return sum(losses) / len(losses), cosines
