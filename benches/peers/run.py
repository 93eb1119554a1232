"""Our f32 and int8 beside what one would run instead, on one checkpoint, in turns in one run.

Each peer is a process of its own; one computes while the others sleep. No more of them than --at-once are in memory
together, for what is read anew from the disk is slow: the first of all runs beside every group of others. A round runs
each case once on each peer, after a round that does not count, whose vectors tell the fidelity: the least cosine to the
reference's, which is sentence-transformers' in f32. Times are medians of the clock over a whole request, from texts to
vectors; ratios are to our int8, or to the first of those that were asked for, in the same rounds. Nobody else may use
the machine meanwhile: the load is printed.
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

import numpy

from engines import Failed, commands, start
from workload import CASES, Workload

REFERENCE = "sentence-transformers f32"


def cosines(vectors, reference):
    a, b = (numpy.array(side) for side in (vectors, reference))
    return float(((a * b).sum(1) / numpy.linalg.norm(a, axis=1) / numpy.linalg.norm(b, axis=1)).min())


def run_case(peers, requests, prompt, rounds, until, left_out):
    """Milliseconds of a request and vectors, by peer, and the rounds that there was time for: one at least. A peer
    that fails is left out from then on."""
    times, vectors = {peer.name: [] for peer in peers}, {}
    done = 0
    for turn in range(rounds + 1):
        if turn > 1 and time.monotonic() > until:
            break
        done = turn
        for peer in list(peers):
            try:
                for texts in requests:
                    ms, rows = peer.embed(texts, prompt, vectors=turn == 0)
                    if turn > 0:
                        times[peer.name].append(ms)
                    else:
                        vectors.setdefault(peer.name, []).extend(rows)
            except (Failed, OSError) as error:
                left_out[peer.name] = str(error)
                peers.remove(peer)
    return {peer.name: statistics.median(times[peer.name]) for peer in peers}, vectors, done


def table(rows):
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]
        print("  ".join(cells).rstrip())


class Run:
    """What groups of peers have been found to take."""

    def __init__(self, options, not_asked_for):
        self.options, self.work = options, Workload(options.checkpoint)
        self.end = time.monotonic() + options.seconds
        self.load = [os.getloadavg()[0]]
        self.cases = {case: {"ms": {}, "ratio": {}, "rounds": {}} for case in options.cases}
        self.vectors = {case: {} for case in options.cases}
        self.peers, self.not_run = {}, []
        self.left_out = {name: "it was not asked for" for name in not_asked_for}

    def group(self, names, wanted, groups_left):
        """Runs all cases of some peers, of which the first runs in every group, in its share of the time."""
        peers = []
        for name in names:
            try:
                peers.append(start(self.options, name, wanted[name]))
                print(f"loaded {name}: {peers[-1].version}, {peers[-1].load_ms / 1e3:.1f} s", file=sys.stderr)
            except Failed as error:
                self.left_out[name] = str(error)
        until = time.monotonic() + (self.end - time.monotonic()) / groups_left
        started = list(peers)
        for place, case in enumerate(self.cases):
            left = until - time.monotonic()
            if left < 0:
                self.not_run.append(f"{case} of {', '.join(names)}")
                continue
            self._case(case, peers, names[0], time.monotonic() + left / (len(self.cases) - place))
            print(f"{case}: done, {self.end - time.monotonic():.0f} s left", file=sys.stderr)
        for peer in peers:
            peer.end()
        for peer in started:
            known = {"version": peer.version, "load_ms": peer.load_ms, "resident": peer.resident}
            self.peers.setdefault(peer.name, known)

    def _case(self, case, peers, first, until):
        requests, prompt = self.work.requests(case)
        medians, vectors, rounds = run_case(peers, requests, prompt, self.options.rounds, until, self.left_out)
        found = self.cases[case]
        found["tokens"] = [sum(self.work.tokens(texts, prompt)) for texts in requests]
        for peer in peers:
            ms = medians[peer.name]
            found["ms"].setdefault(peer.name, ms)
            if first in medians:
                found["ratio"].setdefault(peer.name, ms / medians[first])
            found["rounds"].setdefault(peer.name, rounds)
        self.vectors[case] |= vectors

    def report(self):
        fidelity = {}
        for vectors in self.vectors.values():
            reference = vectors.get(REFERENCE)
            for name, rows in vectors.items():
                if reference and len(rows) == len(reference):
                    fidelity[name] = min(fidelity.get(name, 1.0), cosines(rows, reference))
        return {
            "checkpoint": self.options.checkpoint.name,
            "threads": self.options.threads,
            "load": [*self.load, os.getloadavg()[0]],
            "cases": {case: found for case, found in self.cases.items() if found["ms"]},
            "not_run": self.not_run,
            "fidelity": fidelity,
            "left_out": self.left_out,
            "peers": self.peers,
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--ours", nargs="+", required=True, help="the program built from cli/benches/forward.rs")
    parser.add_argument("--fastembed", type=Path, help="the program built from benches/peers/fastembed")
    parser.add_argument("--python", default=sys.executable, help="Python with requirements.txt")
    parser.add_argument("--llama-python", help="Python with requirements-llama-cpp.txt")
    parser.add_argument("--work", type=Path, required=True, help="folder for files that are made")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("--peers", nargs="+", help="parts of the names of those to run; all without it")
    parser.add_argument("--at-once", type=int, default=5, help="peers in memory at a time")
    parser.add_argument("--seconds", type=int, default=900, help="share so long among groups and cases; a case that begins has a round at least, and none begins later")
    parser.add_argument("--json", type=Path, help="also write everything to this file")
    options = parser.parse_args()
    known = commands(options)
    asked_for = lambda name: not options.peers or any(part in name for part in options.peers)
    wanted = {name: command for name, command in known.items() if asked_for(name)}
    if not wanted:
        parser.error(f"no peer of such a name; there are: {', '.join(known)}")
    run = Run(options, [name for name in known if name not in wanted])
    first, *others = wanted
    size = max(1, options.at_once - 1)
    groups = [others[begin : begin + size] for begin in range(0, len(others), size)] or [[]]
    for place, group in enumerate(groups):
        run.group([first, *group], wanted, len(groups) - place)
    report = run.report()
    show(report)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")


def show(report):
    cases, names = report["cases"], list(report["peers"])
    print(f"{report['checkpoint']}, {report['threads']} threads, medians; ", end="")
    print("load {:.1f} before, {:.1f} after".format(*report["load"]))
    print("ms of a request, and in brackets over those of the first row\n")
    rows = [["", *cases, "least cosine", "load s", "resident MB"]]
    for name in names:
        cells = []
        for case in cases.values():
            ms, ratio = case["ms"].get(name), case["ratio"].get(name)
            cells.append("-" if ms is None else f"{ms:.1f}" + (f" ({ratio:.2f})" if ratio else ""))
        peer = report["peers"][name]
        cosine = f"{report['fidelity'][name]:.6f}" if name in report["fidelity"] else "no reference"
        rows.append([name, *cells, cosine, f"{peer['load_ms'] / 1e3:.1f}", f"{peer['resident'] / 1e6:.0f}"])
    table(rows)
    for case, what in cases.items():
        requests, least, most = len(what["tokens"]), min(what["tokens"]), max(what["tokens"])
        rounds = min(what["rounds"].values())
        print(f"{case}: {rounds} rounds or more of {requests} requests of {least} to {most} tokens")
    for name, version in ((name, report["peers"][name]["version"]) for name in names):
        print(f"{name}: {version}")
    for name, reason in report["left_out"].items():
        print(f"left out: {name}: {reason}")
    for case in report["not_run"]:
        print(f"not run for want of time: {case}")


if __name__ == "__main__":
    main()
