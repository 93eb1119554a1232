"""Draws log.csv as curve.png: the loss, and the held-out correlation at every size."""

import csv

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

from places import HERE
from recipe import SIZES


def main():
    with open(HERE / "log.csv", newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    texts = [row["texts"] / 1000 for row in rows]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    left.plot(texts, [row["loss"] for row in rows], color="black")
    left.set(title="loss of one step", xlabel="thousand texts")
    for size in SIZES:
        right.plot(texts, [row[f"spearman_{size}"] for row in rows], label=f"{size} dimensions")
    right.set(title="Spearman, random held-out pairs", xlabel="thousand texts")
    right.legend()
    figure.savefig(HERE / "curve.png", dpi=80)


if __name__ == "__main__":
    main()
