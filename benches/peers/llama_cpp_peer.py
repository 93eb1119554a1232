"""llama.cpp as a peer: `llama_cpp_peer.py FILE.gguf THREADS`."""

import sys

import protocol

import llama_cpp

CONTEXT = 4096


def load():
    path, threads = sys.argv[1:]
    model = llama_cpp.Llama(
        path,
        embedding=True,
        n_ctx=CONTEXT,
        n_batch=CONTEXT,
        n_ubatch=CONTEXT,
        n_threads=int(threads),
        n_threads_batch=int(threads),
        pooling_type=llama_cpp.LLAMA_POOLING_TYPE_LAST,
        verbose=False,
    )
    return lambda texts, prompt: model.embed([prompt + text for text in texts], normalize=True)


protocol.serve(f"llama-cpp-python {llama_cpp.__version__}", load)
