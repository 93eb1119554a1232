"""Load: right answers only, constant memory and threads, and what it costs.

Names of functions as arguments run those alone.
"""

import asyncio
import json
import os
import pathlib
import random
import resource
import socket
import subprocess
import sys

import numpy as np

from serving import check, library, serving

HERE = pathlib.Path(__file__).parent
SECONDS = os.environ.get("SECONDS_OF_LOAD", "3")
TEXT = "What is the capital of China?"

# By default glibc has memory for each thread, and gives back little of what was freed: resident
# memory then goes up and down by a fifth at random. With these its peak settles in the warm-up.
GIVING_BACK = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "16384",
    "MALLOC_TRIM_THRESHOLD_": "0",
    "MALLOC_TOP_PAD_": "0",
}


def main():
    parts = [
        every_load_is_answered,
        micro_batching_pays,
        beyond_capacity_is_refused,
        every_vector_is_its_own,
        ten_thousand_idle_connections,
    ]
    for part in parts:
        if part.__name__ in sys.argv[1:] or len(sys.argv) == 1:
            part()


def wrk(server, connections, inputs=1):
    """One run; what `wrk.lua` prints."""
    threads = str(min(connections, 2))
    command = ["wrk", "-t", threads, "-c", str(connections), "-d", SECONDS, "-s", str(HERE / "wrk.lua")]
    command += ["--timeout", "30", f"{server.url}/embed"]
    environment = {**os.environ, "TEXT": TEXT, "INPUTS": str(inputs)}
    output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return json.loads(output.stdout.splitlines()[-1])


def every_load_is_answered():
    with serving(**GIVING_BACK) as server:
        for connections, inputs in [(512, 1), (64, 1), (1, 64)] * 2:
            wrk(server, connections, inputs)
        threads, memory = server.status("Threads"), server.status("VmHWM")
        for connections in [1, 2, 10, 64, 512]:
            found = wrk(server, connections)
            assert found["good"] > 0, found
            assert found["busy"] == found["other"] == found["broken"] == 0, found
            print(
                f"load: {connections:>3} connections: {found['rate']:>7.0f} texts/s, "
                f"p50 {found['p50']:.2f} ms, p95 {found['p95']:.2f}, p99 {found['p99']:.2f}"
            )
        wrk(server, 1, inputs=64)
        inside(server)
        assert server.status("Threads") == threads, "threads grew"
        growth = server.status("VmHWM") / memory
        print(f"load: {threads} threads, at most {memory >> 10} MiB resident, then x{growth:.3f}")
        assert growth < 1.1, f"the peak of resident memory grew by x{growth}"


def micro_batching_pays():
    """Interleaved, so that whatever else the machine does falls on both."""
    with serving() as server:
        ratios = []
        for _ in range(3):
            single = wrk(server, 64)["rate"]
            full = wrk(server, 1, inputs=64)["rate"] * 64
            ratios.append(single / full)
    shown = ", ".join(f"{ratio:.2f}" for ratio in sorted(ratios))
    print(f"load: 64 clients of 1 text against 1 client of 64 texts, texts a second: x{shown}")


def inside(server):
    """What HTTP adds to the service, one request at a time."""
    before = server.metric("total_seconds_sum"), server.metric("total_seconds_count")
    found = wrk(server, 1)
    after = server.metric("total_seconds_sum"), server.metric("total_seconds_count")
    service = (after[0] - before[0]) / (after[1] - before[1]) * 1e3
    print(f"load: alone: p50 {found['p50']:.3f} ms over HTTP, {service:.3f} ms of it in the service")


def beyond_capacity_is_refused():
    with serving("--max-queued-inputs", "16") as server:
        found = wrk(server, 512, inputs=8)
        assert found["good"] > 0 and found["busy"] > 0, found
        assert found["other"] == found["broken"] == 0, found
        print(f"overload: {found['good']} answered, {found['busy']} told to come back")
    with serving("--max-connections", "64") as server:
        found = wrk(server, 512)
        assert found["good"] > 0 and found["busy"] > 0 and found["other"] == 0, found
        print(f"overload: with 64 places {found['good']} answered, {found['busy']} told to come back")


def every_vector_is_its_own():
    """Distinct texts at once, with half of the callers gone before their answer."""
    texts = [f"text {number} " + "word " * (number % 40) for number in range(400)]
    expected = library(texts=texts)
    with serving() as server:
        found = asyncio.run(ask_all(server, texts, leave=0.0))
        check("concurrent callers", [found[number] for number in range(len(texts))], expected)
        for leave in (0.5, 0.5):
            found = asyncio.run(ask_all(server, texts, leave))
            stayed = sorted(found)
            assert 0 < len(stayed) < len(texts)
            check("half of the callers gone", [found[n] for n in stayed], expected[stayed])
        assert server.metric("accepted_inputs") == 0, "those who left still hold places"


async def ask_all(server, texts, leave):
    """Each text on a connection of its own; the vectors of those who stayed, by number."""
    places = asyncio.Semaphore(128)
    chance = random.Random(7)
    gone = [chance.random() < leave for _ in texts]

    async def ask(number):
        async with places:
            return number, await one(server.port, texts[number], gone[number])

    answers = await asyncio.gather(*(ask(number) for number in range(len(texts))))
    return {number: vector for number, vector in answers if vector is not None}


async def one(port, text, leave):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = json.dumps({"inputs": text}).encode()
    head = f"POST /embed HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n"
    writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
    try:
        if leave:
            await writer.drain()
            return None
        answer = await reader.read()
    finally:
        writer.close()
    head, body = answer.split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 200 "), head
    return json.loads(body)[0]


def ten_thousand_idle_connections():
    """Beyond the limit they are told 503 and the idle ones make room; none takes the server down."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(10_000, hard - 200)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with serving() as server:
        idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(count)]
        statuses = [status_at_once(server.port) for _ in range(20)]
        assert set(statuses) <= {200, 503} and statuses[-1] == 200, statuses
        print(f"idle: {count} connections, limit 1024: a request beside them got {statuses[0]}, "
              f"then 200 at try {statuses.index(200) + 1}")
        for connection in idle:
            connection.close()
    with serving("--max-connections", "11000") as server:
        idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(count)]
        assert status_at_once(server.port) == 200
        print(f"idle: {count} connections, limit 11000: a request beside them got 200, "
              f"resident memory {server.status('VmRSS') >> 10} MiB")
        for connection in idle:
            connection.close()


def status_at_once(port):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        body = b'{"inputs": "a"}'
        head = b"POST /embed HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        connection.sendall(head + b"content-length: %d\r\n\r\n" % len(body) + body)
        return int(connection.recv(4096).split(b" ", 2)[1])


if __name__ == "__main__":
    main()
