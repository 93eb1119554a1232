"""Our f32 and int8 beside what one would run instead, on one checkpoint, in turns in one run.

Each peer is a process of its own; one computes while the others sleep. A round runs each case once on each peer,
after a round that does not count, whose vectors tell the fidelity: the least cosine to the reference's, which is
sentence-transformers' in f32. Times are medians of the clock over a whole request, from texts to vectors; ratios are
to our int8, or to the first of ours that runs. Nobody else may use the machine meanwhile: the load is printed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy

from workload import CASES, Workload

HERE = Path(__file__).parent
REFERENCE = "sentence-transformers f32"


class Peer:
    def __init__(self, name, command, threads):
        self.name, self.resident = name, 0
        variables = {"OMP_NUM_THREADS": str(threads), "RAYON_NUM_THREADS": str(threads)}
        variables |= {"ORT_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
        # A file: nobody reads a pipe that fills while the peer is waited for.
        self.said = tempfile.TemporaryFile("w+")
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.said}
        self.child = subprocess.Popen(command, text=True, env=os.environ | variables, **pipes)
        answer = self._answer()
        self.load_ms, self.version = answer["load_ms"], answer["version"]

    def embed(self, texts, prompt, vectors=False):
        print(json.dumps({"texts": texts, "prompt": prompt, "vectors": vectors}), file=self.child.stdin, flush=True)
        answer = self._answer()
        self.resident = max(self.resident, answer["resident"])
        return answer["ms"], answer["vectors"]

    def end(self):
        self.child.stdin.close()
        self.child.wait()

    def _answer(self):
        line = self.child.stdout.readline()
        if not line:
            self.child.wait()
            self.said.seek(0)
            said = self.said.read().strip().splitlines()
            raise Failed(f"ended with code {self.child.returncode}: {said[-1] if said else 'it said nothing'}")
        return json.loads(line)


class Failed(Exception):
    pass


def commands(options):
    """All peers: how each is started, or why it cannot be."""
    python, llama = options.python, options.llama_python
    ours = [*options.ours, options.checkpoint]
    threads = str(options.threads)
    script = lambda name, *arguments: [python, HERE / name, options.checkpoint, *arguments, threads]
    gguf = lambda kind: options.work / f"{options.checkpoint.resolve().name}-{kind}.gguf"
    peers = {
        "ours int8": [*ours, "int8", threads],
        "ours f32": [*ours, "f32", threads],
        "sentence-transformers f32": script("torch_peer.py", "f32"),
        "sentence-transformers bf16": script("torch_peer.py", "bf16"),
        "OpenVINO int8": script("openvino_peer.py", "int8"),
        "OpenVINO bf16": script("openvino_peer.py", "bf16"),
        "ONNX Runtime f32": script("onnxruntime_peer.py", "f32"),
        "ONNX Runtime int8": script("onnxruntime_peer.py", "int8"),
        "llama.cpp BF16": [llama, HERE / "llama_cpp_peer.py", gguf("bf16"), threads],
        "llama.cpp Q8_0": [llama, HERE / "llama_cpp_peer.py", gguf("q8_0"), threads],
        "fastembed f32": [options.fastembed, options.checkpoint, "f32"],
        "fastembed Q8_0": [options.fastembed, gguf("q8_0"), options.checkpoint],
    }
    return peers


def convert(options, command):
    """Makes the GGUF file of a command that reads one."""
    for part in command:
        path = Path(part)
        if path.suffix == ".gguf" and not path.exists():
            kind = path.stem.rsplit("-", 1)[1]
            made = [options.llama_python, HERE / "to_gguf.py", options.checkpoint, kind, path]
            done = subprocess.run(made, stderr=subprocess.PIPE, text=True)
            if done.returncode:
                raise Failed(f"no GGUF file: {done.stderr.strip().splitlines()[-1]}")


def start(options, name, command):
    if not command[0]:
        raise Failed("it was not set up")
    if not Path(command[0]).exists():
        raise Failed(f"it was not set up: there is no {command[0]}")
    convert(options, command)
    return Peer(name, [str(part) for part in command], options.threads)


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
    parser.add_argument("--seconds", type=int, default=900, help="share so long among the cases; each has a round at least, and none begins later")
    parser.add_argument("--json", type=Path, help="also write everything to this file")
    options = parser.parse_args()
    begin = time.monotonic()
    work = Workload(options.checkpoint)
    peers, left_out = [], {}
    for name, command in commands(options).items():
        if options.peers and not any(part in name for part in options.peers):
            left_out[name] = "it was not asked for"
            continue
        try:
            peers.append(start(options, name, command))
            print(f"loaded {name}: {peers[-1].version}, {peers[-1].load_ms / 1e3:.1f} s", file=sys.stderr)
        except Failed as error:
            left_out[name] = str(error)
    report = {"checkpoint": options.checkpoint.name, "threads": options.threads}
    report |= {"load": [os.getloadavg()[0]], "cases": {}, "not_run": []}
    fidelity = {}
    for place, case in enumerate(options.cases):
        left = begin + options.seconds - time.monotonic()
        if left < 0:
            report["not_run"].append(case)
            continue
        requests, prompt = work.requests(case)
        until = time.monotonic() + left / (len(options.cases) - place)
        medians, vectors, rounds = run_case(peers, requests, prompt, options.rounds, until, left_out)
        tokens = [sum(work.tokens(texts, prompt)) for texts in requests]
        report["cases"][case] = {"tokens": tokens, "ms": medians, "rounds": rounds}
        for name in vectors:
            if REFERENCE in vectors and len(vectors[name]) == len(vectors[REFERENCE]):
                cosine = cosines(vectors[name], vectors[REFERENCE])
                fidelity[name] = min(fidelity.get(name, 1.0), cosine)
        print(f"{case}: done after {time.monotonic() - begin:.0f} s", file=sys.stderr)
    report["load"].append(os.getloadavg()[0])
    report |= {"fidelity": fidelity, "left_out": left_out}
    report["peers"] = {p.name: {"version": p.version, "load_ms": p.load_ms, "resident": p.resident} for p in peers}
    for peer in peers:
        peer.end()
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
            first = case["ms"].get(names[0])
            ms = case["ms"].get(name)
            cells.append("failed" if ms is None else f"{ms:.1f}" + (f" ({ms / first:.2f})" if first else ""))
        peer = report["peers"][name]
        cosine = f"{report['fidelity'][name]:.6f}" if name in report["fidelity"] else "no reference"
        rows.append([name, *cells, cosine, f"{peer['load_ms'] / 1e3:.1f}", f"{peer['resident'] / 1e6:.0f}"])
    table(rows)
    for case, what in cases.items():
        requests, least, most = len(what["tokens"]), min(what["tokens"]), max(what["tokens"])
        print(f"{case}: {what['rounds']} rounds of {requests} requests of {least} to {most} tokens")
    for name, version in ((name, report["peers"][name]["version"]) for name in names):
        print(f"{name}: {version}")
    for name, reason in report["left_out"].items():
        print(f"left out: {name}: {reason}")
    for case in report["not_run"]:
        print(f"not run for want of time: {case}")


if __name__ == "__main__":
    main()
