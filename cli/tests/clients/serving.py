"""A server of the tiny model for the length of a `with` block, and the library's own vectors."""

import contextlib
import json
import os
import pathlib
import subprocess
import time
import urllib.error
import urllib.request

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[3]
PROGRAM = os.environ.get("PROGRAM", str(ROOT / "target/debug/qwen3-embed"))
MODEL = os.environ.get("MODEL", str(ROOT / "models/tiny"))
ON_MODEL = ["--model", MODEL, "--device", "cpu"]

TEXTS = [
    "The capital of China is Beijing.",
    "Gravity pulls bodies together.",
    "三 four fünf",
    "a much longer text that " * 6,
]

# The order of f32 sums depends on the batch.
TOLERANCE = 1e-5


class Server:
    """One running process."""

    def __init__(self, process, url):
        self.process = process
        self.url = url

    @property
    def port(self):
        return int(self.url.rsplit(":", 1)[1])

    def get(self, path):
        with urllib.request.urlopen(self.url + path) as answer:
            return answer.read().decode()

    def post(self, path, body):
        data = json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data)
        request.add_header("content-type", "application/json")
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read())

    def status(self, field):
        """A number that the kernel tells of the process: VmRSS or VmHWM (kB), Threads."""
        lines = pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        line = next(line for line in lines if line.startswith(field + ":"))
        return int(line.split()[1])

    def metric(self, name):
        lines = self.get("/metrics").splitlines()
        return float(next(line for line in lines if line.startswith(f"qwen3_embed_{name} ")).split()[1])


@contextlib.contextmanager
def serving(*arguments, **variables):
    """Runs `qwen3-embed serve` on a free port; it must end by itself when asked to."""
    environment = {**os.environ, **variables}
    command = [PROGRAM, "serve", "--port", "0", *ON_MODEL, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        server = Server(process, json.loads(process.stdout.readline())["listening"])
        wait_until_ready(server)
        yield server
        assert process.poll() is None, "the server ended by itself"
        process.terminate()
        assert process.wait(60) == 0, "the server did not end well"
    finally:
        process.kill()
        process.wait()


def wait_until_ready(server):
    for _ in range(3000):
        with contextlib.suppress(urllib.error.HTTPError):
            server.get("/ready")
            return
        time.sleep(0.02)
    raise TimeoutError("the model was not loaded")


def library(*arguments, texts=tuple(TEXTS)):
    """The vectors of `qwen3-embed embed`, which runs the library without the server."""
    command = [PROGRAM, "embed", *ON_MODEL, *arguments, *texts]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return np.array(json.loads(output)["embeddings"], dtype=np.float32)


def check(what, found, expected):
    found = np.asarray(found, dtype=np.float32)
    assert found.shape == expected.shape, f"{what}: {found.shape}, expected {expected.shape}"
    error = float(np.abs(found - expected).max())
    assert error < TOLERANCE, f"{what}: differs by {error}"
    print(f"ok: {what}: {found.shape[0]} vectors of {found.shape[1]}, largest difference {error:.1e}")
