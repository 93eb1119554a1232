"""Small tokenizers of the kinds that published ONNX models have; every vocabulary is counted, none is fitted."""

import collections
import math
import re
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

MODELS = Path(__file__).parent
CORPUS = MODELS / "onnx-corpus.txt"


def common(pattern, text, count):
    """The most frequent matches, in an order that does not depend on the machine."""
    found = collections.Counter(re.findall(pattern, text))
    return [word for word, _ in sorted(found.items(), key=lambda item: (-item[1], item[0]))[:count]]


def add_special(tokenizer, texts):
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in texts])


def framed(tokenizer, before, after):
    """The post-processor that puts special tokens round a text."""
    tokens = before + after
    return processors.TemplateProcessing(
        single=" ".join(before + ["$A"] + after),
        pair=" ".join(before + ["$A"] + after + ["$B:1"] + [f"{token}:1" for token in after]),
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in tokens],
    )


def wordpiece():
    """As BERT's uncased tokenizer. Its file also asks for padding and truncation, as all-MiniLM-L6-v2's does."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    text = CORPUS.read_text(encoding="utf-8").lower()
    letters = sorted(set("abcdefghijklmnopqrstuvwxyz0123456789.,;:!?'\"()[]-中文北京"))
    pieces = special + letters + [f"##{letter}" for letter in letters if letter.isalnum()]
    pieces += [word for word in common(r"[a-z]{3,}", text, 110) if word not in pieces]
    pieces += [f"##{end}" for end in common(r"(?<=[a-z]{3})[a-z]{2,3}\b", text, 20)]
    tokenizer = Tokenizer(models.WordPiece({piece: id for id, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    add_special(tokenizer, special)
    tokenizer.post_processor = framed(tokenizer, ["[CLS]"], ["[SEP]"])
    tokenizer.enable_padding(length=24)
    tokenizer.enable_truncation(24)
    return tokenizer


def unigram():
    """As XLM-RoBERTa's tokenizer: SentencePiece's Unigram, pad id 1."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    text = CORPUS.read_text(encoding="utf-8")
    words = collections.Counter(f"▁{word}" for word in re.findall(r"\S+", text))
    total = sum(words.values())
    pieces = [(word, math.log(words[word] / total)) for word in common(r"\S+", text, 120) for word in [f"▁{word}"]]
    letters = sorted(set(text + "▁") - {" ", "\n"})[:110]
    pieces += [(letter, -9.0) for letter in ["▁", *letters] if letter != "▁" or (letter, -9.0) not in pieces]
    seen = dict.fromkeys(special, 0.0) | dict(pieces)
    tokenizer = Tokenizer(models.Unigram(list(seen.items()), unk_id=3, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    add_special(tokenizer, special)
    tokenizer.post_processor = framed(tokenizer, ["<s>"], ["</s>"])
    return tokenizer


def bpe_with_bytes():
    """As Gemma's tokenizer: BPE over characters, spaces written as ▁, unknown characters as bytes."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>"]
    text = CORPUS.read_text(encoding="utf-8").replace(" ", "▁")
    letters = sorted(set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;!?'()|-▁\n"))
    vocabulary = special + [f"<0x{byte:02X}>" for byte in range(256)] + letters
    merges = []
    for pair in common(r"(?=([a-z▁][a-z]))", text, 60):
        merges.append((pair[0], pair[1]))
        vocabulary.append(pair)
    ids = {piece: id for id, piece in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.BPE(ids, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    add_special(tokenizer, special)
    tokenizer.post_processor = framed(tokenizer, ["<bos>"], ["<eos>"])
    return tokenizer


def byte_level():
    """As Qwen's tokenizer, with few merges; its template adds no token, as in some conversions."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    tokenizer.train_from_iterator([CORPUS.read_text(encoding="utf-8")], trainer)
    tokenizer.decoder = decoders.ByteLevel()
    add_special(tokenizer, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer
