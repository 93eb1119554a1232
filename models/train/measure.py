"""Spearman's rank correlation."""

import torch


def spearman(left, right):
    """Of two lists of one length; equal values share the mean of their ranks."""
    return torch.corrcoef(torch.stack([ranks(left), ranks(right)]))[0, 1].item()


def ranks(values):
    values = torch.as_tensor(values, dtype=torch.float64)
    _, place, counts = values.unique(return_inverse=True, return_counts=True)
    return (counts.cumsum(0) - (counts - 1) / 2)[place]
