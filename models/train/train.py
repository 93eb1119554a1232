"""Trains the student: work/student.pt, log.csv. Run again, it resumes from the last checkpoint.

With --last it begins with models/tiny in place of the first phases, and runs the last one.
"""

import argparse
import csv
import time

import torch
from safetensors.torch import load_file

import bag
from data import Data, directions_of, distillation_loss
from measure import spearman
from places import HERE, TINY, WORK
from recipe import GROUP, GROUPS, ORDER_WEIGHT, PHASES, SEED, SIMILARITY_WEIGHT, SIZES, WEIGHT_DECAY
from student import Student, multiplied_in

CHECKPOINT = WORK / "student.pt"
LOG = HERE / "log.csv"
SAVE_EVERY, MEASURE_EVERY = 100, 250
# Texts of one length go through the model together.
SLICES = 4
COLUMNS = ["step", "texts", "seconds", "loss"] + [f"cosine_{size}" for size in SIZES] + [
    f"spearman_{size}" for size in SIZES
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--last", action="store_true", help="begin with models/tiny, run the last phase")
    only_last = parser.parse_args().last
    torch.manual_seed(SEED)
    run = Run(Data())
    run.start_or_resume(only_last)
    run.train()


class Run:
    def __init__(self, data):
        self.data = data
        self.student = Student()
        rest = [p for name, p in self.student.named_parameters() if name != "embed_tokens.weight"]
        self.optimizer = torch.optim.AdamW(
            [{"params": [self.student.embed_tokens.weight], "weight_decay": 0.0},
             {"params": rest, "weight_decay": WEIGHT_DECAY}],
            betas=(0.9, 0.98), fused=True,
        )
        # Steps of all phases; batches and seconds so far.
        self.step, self.batch, self.seconds = 0, 0, 0.0

    def start_or_resume(self, only_last):
        if CHECKPOINT.exists():
            saved = torch.load(CHECKPOINT)
            self.data.turn(saved["rotation"])
            self.student.load_state_dict(saved["student"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.step, self.batch, self.seconds = saved["step"], saved["batch"], saved["seconds"]
            print(f"resumes at step {self.step}", flush=True)
            return
        if only_last:
            self.go_on_from(TINY)
        else:
            began = time.time()
            bag.initialise(self.student, self.data)
            self.seconds = time.time() - began
            with open(LOG, "w", newline="") as file:
                csv.writer(file).writerow(COLUMNS)
        self.save()

    def go_on_from(self, folder):
        """Its weights, the directions that they were aimed at, and the log of their run."""
        weights = load_file(folder / "model.safetensors")
        self.student.load_state_dict({name: weight.float() for name, weight in weights.items()})
        with torch.no_grad():
            parts = [encoded(self.student, self.data, self.data.own(rows)) for rows in self.data.training.split(1024)]
        self.data.turn(directions_of(torch.cat(parts), self.data.teacher[self.data.training]))
        self.step = sum(phase.steps for phase in PHASES if not phase.last)
        with open(LOG, newline="") as file:
            row = next(row for row in csv.reader(file) if row[0] == str(self.step))
        self.batch, self.seconds = int(row[1]) // (GROUP * GROUPS), float(row[2])

    def save(self):
        state = {
            "student": self.student.state_dict(), "optimizer": self.optimizer.state_dict(),
            "step": self.step, "batch": self.batch, "seconds": self.seconds, "rotation": self.data.rotation,
        }
        torch.save(state, CHECKPOINT.with_suffix(".new"))
        CHECKPOINT.with_suffix(".new").replace(CHECKPOINT)

    def train(self):
        if self.step >= sum(phase.steps for phase in PHASES):
            return
        logged = keep_log_until(self.step)
        clusters = self.data.clusters()
        all_batches = Batches(self.data, clusters, torch.arange(len(clusters)))
        last_batches = Batches(self.data, clusters, self.data.last)
        loss, cosines = float("nan"), [float("nan")] * len(SIZES)
        began = time.time() - self.seconds
        first = 0
        for phase in PHASES:
            while self.step < first + phase.steps:
                if self.step % MEASURE_EVERY == 0 and self.step > logged:
                    self.log(loss, cosines)
                batches = last_batches if phase.last else all_batches
                rows = [batches[self.batch + index] for index in range(phase.batches)]
                loss, cosines = self.one_step(phase, self.step - first, rows)
                self.step += 1
                self.batch += phase.batches
                self.seconds = time.time() - began
                if self.step % 20 == 0:
                    print(f"{self.step}: loss {loss:.4f}, cosine {cosines[0]:.4f}, {self.seconds:.0f} s", flush=True)
                if self.step % SAVE_EVERY == 0:
                    self.save()
            first += phase.steps
        self.log(loss, cosines)
        self.save()

    def one_step(self, phase, step, batches):
        embedding, rest = self.optimizer.param_groups
        embedding["lr"], rest["lr"] = (rate * phase.factor(step) for rate in (phase.embedding_rate, phase.rate))
        readings = self.data.any(torch.cat(batches), torch.Generator().manual_seed(SEED + self.step))
        with torch.autocast("cpu", torch.bfloat16, enabled=multiplied_in() == torch.bfloat16):
            vectors = encoded(self.student, self.data, readings, phase.shallow)
        parts = [
            distillation_loss(part, *self.data.vectors(read), SIMILARITY_WEIGHT, ORDER_WEIGHT)
            for part, read in zip(vectors.chunk(len(batches)), readings.chunk(len(batches)))
        ]
        loss = sum(loss for loss, _ in parts) / len(parts)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
        self.optimizer.step()
        return loss.item(), [sum(part) / len(parts) for part in zip(*(cosines for _, cosines in parts))]

    def log(self, loss, cosines):
        correlations = held_out_correlations(self.student, self.data)
        figures = [loss, *cosines, *correlations]
        row = [self.step, self.batch * GROUP * GROUPS, round(self.seconds)]
        with open(LOG, "a", newline="") as file:
            csv.writer(file).writerow(row + [f"{figure:.4f}" for figure in figures])
        print(f"{self.step}: held-out Spearman {[round(c, 4) for c in correlations]}", flush=True)


class Batches:
    """The batches of all epochs, one after the other."""

    def __init__(self, data, clusters, places):
        self.data, self.texts = data, (clusters, places)
        self.number, self.epoch = 0, self.data.epoch(0, *self.texts)

    def __getitem__(self, index):
        number, place = divmod(index, len(self.epoch))
        if number != self.number:
            self.number, self.epoch = number, self.data.epoch(number, *self.texts)
        return self.epoch[place]


def encoded(student, data, readings, shallow=False):
    """[readings, D]: queries behind the prompt, documents bare, each kind in slices of similar length."""
    query = data.is_query(readings)
    slices = [part for kind in (True, False) for part in by_length(data, readings, query == kind)]
    padded = [data.padded(readings[part]) for part in slices]
    # One look-up for all: each makes a gradient as large as the table.
    ids = [torch.tensor([data.prompt_ids])] + [ids for ids, _ in padded]
    flat = student.embed_tokens(torch.cat([part.flatten() for part in ids]))
    prompt, *embedded = (x.view(*part.shape, -1) for x, part in zip(flat.split([part.numel() for part in ids]), ids))
    past = student.prompt(prompt)
    run = student.shallow if shallow else student
    vectors = [
        run(x, last, past if query[part[0]] else None) for x, part, (_, last) in zip(embedded, slices, padded)
    ]
    return torch.cat(vectors)[torch.cat(slices).argsort()].float()


def by_length(data, readings, chosen):
    """The chosen places among the readings, in slices of similar length."""
    places = chosen.nonzero().squeeze(1)
    return places[data.lengths[readings[places]].argsort()].chunk(SLICES) if len(places) else ()


@torch.no_grad()
def held_out_correlations(student, data, texts=1500):
    """Spearman with the teacher's cosines on random held-out pairs, at every size."""
    rows = data.held_out.nonzero().squeeze(1)
    rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(SEED))[:texts]]
    vectors = torch.cat([encoded(student, data, data.own(part)) for part in rows.split(256)])
    upper = torch.triu_indices(len(rows), len(rows), 1)
    wanted = (data.teacher[rows] @ data.teacher[rows].T)[*upper]
    return [
        spearman((unit @ unit.T)[*upper], wanted)
        for unit in (torch.nn.functional.normalize(vectors[:, :size], dim=-1) for size in SIZES)
    ]


def keep_log_until(step):
    """Drops rows that a run wrote after its last checkpoint; gives the last step that is left, or -1."""
    with open(LOG, newline="") as file:
        rows = list(csv.reader(file))
    with open(LOG, "w", newline="") as file:
        kept = [row for row in rows[1:] if int(row[0]) <= step]
        csv.writer(file).writerows(rows[:1] + kept)
    return int(kept[-1][0]) if kept else -1


if __name__ == "__main__":
    main()
