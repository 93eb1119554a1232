"""sentence-transformers on PyTorch as a peer: `torch_peer.py CHECKPOINT f32|bf16 THREADS`."""

import sys

import protocol

import sentence_transformers
import torch

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def load():
    checkpoint, precision, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    model = sentence_transformers.SentenceTransformer(
        checkpoint, device="cpu", local_files_only=True, model_kwargs={"dtype": DTYPES[precision]}
    )

    def embed(texts, prompt):
        options = {"batch_size": len(texts), "show_progress_bar": False, "convert_to_tensor": True}
        return model.encode(texts, prompt=prompt, **options).float().numpy()

    return embed


protocol.serve(f"sentence-transformers {sentence_transformers.__version__}, PyTorch {torch.__version__}", load)
