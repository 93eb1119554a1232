"""Trains the student's tokenizer on the training text and writes it with the released one's components."""

import json

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from recipe import BASE_TOKENS
from places import WORK
from common import CHAT_END, CHAT_START, EOS, QUERY_PROMPT, SPECIAL
from teacher import read_texts

# The released tokenizer's own expression.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# Often enough that each word of the prompt is one token.
PROMPTS = 2000
# Everyday words are worth more tokens than those of manuals.
SOURCES = ("wordnet-base", "everyday.txt")
NOT_SPECIAL = ("<tool_call>", "</tool_call>", "<think>", "</think>")


def train_tokenizer(texts):
    """Byte-level BPE with every component as in the released tokenizer.json."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False),
    ])
    trainer = trainers.BpeTrainer(
        vocab_size=BASE_TOKENS, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    assert tokenizer.get_vocab_size() == BASE_TOKENS
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIAL])
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in NOT_SPECIAL])
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False),
        processors.TemplateProcessing(
            single=f"$A {EOS}", pair=f"$A $B:0 {EOS}", special_tokens=[(EOS, tokenizer.token_to_id(EOS))]
        ),
    ])
    return tokenizer


def write_tokenizer(tokenizer, path):
    """The library's file, with the fields that its Python classes cannot set spelled as released."""
    file = json.loads(tokenizer.to_str())
    file["decoder"] = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    file["model"] |= {"continuing_subword_prefix": "", "end_of_word_suffix": ""}
    path.write_text(json.dumps(file, indent=0, ensure_ascii=False), encoding="utf-8")


def tokenizer_config(tokenizer):
    """As released: the end-of-sequence named here is the chat's, not the one that ends an embedded text."""
    return {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": {
            str(tokenizer.token_to_id(text)): {
                "content": text,
                "lstrip": False,
                "normalized": False,
                "rstrip": False,
                "single_word": False,
                "special": text in SPECIAL,
            }
            for text in SPECIAL + NOT_SPECIAL
        },
        "additional_special_tokens": [CHAT_START, CHAT_END],
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "eos_token": CHAT_END,
        "errors": "replace",
        "model_max_length": 131072,
        "pad_token": EOS,
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }


def main():
    texts = [text["text"] for text in read_texts() if text["source"] in SOURCES and not text["held_out"]]
    # The prompt stands alone: before a query, its colon would be merged with the query's first word.
    tokenizer = train_tokenizer(texts + [QUERY_PROMPT] * PROMPTS)
    write_tokenizer(tokenizer, WORK / "tokenizer.json")
    lengths = [len(encoding.ids) for encoding in tokenizer.encode_batch(texts[::20])]
    print(f"{tokenizer.get_vocab_size()} tokens, {sum(lengths) / len(lengths):.1f} to a text")


if __name__ == "__main__":
    main()
