"""What runs beside each other, each a process of its own that answers as protocol.py says."""

import json
import os
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).parent


class Failed(Exception):
    pass


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
