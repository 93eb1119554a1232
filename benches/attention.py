"""Our attention and ONNX Runtime's ways to attend, by length, in turns in one run: one layer of the 0.6B
(16 query heads, 8 KV heads, head_dim 128), two threads. The arguments are what starts kernels/benches/attention.rs.
Ours norms and turns queries and keys too, which the others are given as they attend.

Printed are medians in processor time, which other work on the machine disturbs less than the clock, and
the peak memory of a process that runs this case alone.
"""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy
import onnxruntime
from onnx import TensorProto, helper

H, KV, D = 16, 8, 128
CASES = ((1, 16), (1, 32), (8, 32), (1, 256), (8, 256), (1, 1024), (1, 2048), (1, 8192))
CHUNK = 512
F32, I32 = TensorProto.FLOAT, TensorProto.INT32


def session(op, inputs, outputs, extra, domain="", **heads):
    node = helper.make_node(op, inputs, outputs, domain=domain, **heads)
    shapes = {"q": (F32, ["B", "L", H * D]), "k": (F32, ["B", "L", KV * D]), "v": (F32, ["B", "L", KV * D])}
    declared = [helper.make_tensor_value_info(name, *kind) for name, kind in (shapes | extra).items()]
    results = [helper.make_tensor_value_info(name, F32, None) for name in outputs]
    graph = helper.make_graph([node], "attention", declared, results)
    opsets = [helper.make_opsetid("", 23), helper.make_opsetid("com.microsoft", 1)]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def standard():
    attention = session("Attention", "qkv", ["out"], {}, is_causal=1, q_num_heads=H, kv_num_heads=KV)
    return lambda feeds: attention.run(["out"], feeds)[0]


def contrib():
    inputs = ["q", "k", "v", "", "", "last", "total"]
    extra = {"last": (I32, ["B"]), "total": (I32, [])}
    heads = {"num_heads": H, "kv_num_heads": KV}
    attention = session(
        "GroupQueryAttention", inputs, ["out", "keys", "values"], extra, domain="com.microsoft", **heads
    )

    def run(feeds):
        rows, length, _ = feeds["q"].shape
        last = numpy.full(rows, length - 1, numpy.int32)
        return attention.run(["out"], feeds | {"last": last, "total": numpy.array(length, numpy.int32)})[0]

    return run


def chunks():
    """The standard operator over CHUNK queries at a time, the keys before them as its past."""
    extra = {name: (F32, ["B", KV, "P", D]) for name in ("past_k", "past_v")}
    inputs, outputs = ["q", "k", "v", "", "past_k", "past_v"], ["out", "keys", "values"]
    attention = session("Attention", inputs, outputs, extra, is_causal=1, q_num_heads=H, kv_num_heads=KV)

    def run(feeds):
        rows, length, _ = feeds["q"].shape
        empty = numpy.zeros((rows, KV, 0, D), numpy.float32)
        past, parts = {"past_k": empty, "past_v": empty}, []
        for begin in range(0, length, CHUNK):
            part = {name: array[:, begin : begin + CHUNK] for name, array in feeds.items()}
            names = ["out", "keys", "values"] if begin + CHUNK < length else ["out"]
            out, *rest = attention.run(names, part | past)
            past = dict(zip(past, rest))
            parts.append(out)
        return numpy.concatenate(parts, 1)

    return run


WAYS = {"standard": standard, "contrib": contrib, "chunks": chunks}


def feeds(rows, length):
    random = numpy.random.default_rng(0)
    columns = {"q": H * D, "k": KV * D, "v": KV * D}
    return {name: random.standard_normal((rows, length, n), numpy.float32) for name, n in columns.items()}


def resident(key):
    """A figure of /proc/self/status, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith(key))


def alone(way, rows, length):
    """What one run takes at most beside its inputs, in MiB; its outputs count."""
    run, inputs = WAYS[way](), feeds(rows, length)
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    run(inputs)
    print(resident("VmHWM") - before)


class Ours:
    """The Rust program, which answers with milliseconds and the peak."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n", "the Rust program did not start"

    def run(self, rows, length):
        self.process.stdin.write(f"{rows} {length}\n")
        self.process.stdin.flush()
        return [float(part) for part in self.process.stdout.readline().split()]


def main(program):
    ours = Ours([*program, "--serve"])
    ways = {name: make() for name, make in WAYS.items()}
    print("rows x tokens: milliseconds of processor time, peak MiB")
    for rows, length in CASES:
        inputs, times = feeds(rows, length), {name: [] for name in ways}
        expected = ways["standard"](inputs)
        own = []
        for _ in range(max(2, min(31, 8192 // (rows * length)))):
            own.append(ours.run(rows, length))
            for name, run in ways.items():
                started = time.process_time()
                out = run(inputs)
                times[name].append((time.process_time() - started) * 1e3)
                assert abs(out - expected).max() < 1e-4, name
        time_of_ours, peak = (statistics.median(figures) for figures in zip(*own))
        cells = [f"ours {time_of_ours:.2f} ms, {peak:.0f} MiB"]
        for name in ways:
            command = [sys.executable, __file__, name, str(rows), str(length)]
            added = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
            cells.append(f"{name} {statistics.median(times[name]):.2f} ms, {added} MiB")
        print(f"{rows} x {length}: {'; '.join(cells)}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    if sys.argv[1] in WAYS:
        alone(sys.argv[1], *map(int, sys.argv[2:]))
    else:
        main(sys.argv[1:])
