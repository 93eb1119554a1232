"""How a peer is asked: a process that reads and writes a JSON object a line.

It says `{"load_ms", "version"}` once it has loaded. To `{"texts", "prompt", "vectors"}` it answers `{"ms",
"resident", "vectors"}`: the milliseconds from texts to vectors, all texts in one call, each behind the prompt;
its resident bytes; and the vectors, if they were asked for.
"""

import json
import os
import sys
import time

# What is printed by libraries goes to stderr; answers go to what stdout was.
ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def say(answer):
    print(json.dumps(answer), file=ANSWERS, flush=True)


def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS:"))


def serve(version, load):
    """`load` gives a function from a list of texts and a prompt to a list of vectors."""
    begin = time.perf_counter()
    embed = load()
    say({"load_ms": (time.perf_counter() - begin) * 1e3, "version": version})
    for line in sys.stdin:
        request = json.loads(line)
        begin = time.perf_counter()
        vectors = embed(request["texts"], request["prompt"])
        ms = (time.perf_counter() - begin) * 1e3
        vectors = [[float(x) for x in vector] for vector in vectors] if request["vectors"] else None
        say({"ms": ms, "resident": resident(), "vectors": vectors})
