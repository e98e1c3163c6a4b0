"""A generator of item texts: it stays in its ball, hurts more than chance, and says where it goes."""

import zipfile

import contract
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_rec.data.item_text import read_item_texts
from gan_rec.errors import UserError
from gan_rec.recommenders.text import PrincipalComponents, principal_components
from gan_rec.robustness.item_texts import train_text_generator


@pytest.fixture(scope="module")
def case():
    case = contract.build("embedding", "two-tower", "fgm")
    case.model = jax.tree.map(lambda x: x + 0.2 * jax.random.normal(contract.KEY, x.shape), case.model)
    return case


def test_fakes_hurt_more_than_random_moves_of_the_same_length(case):
    found = train_text_generator(case.model, case.positives, 0.3, steps=200)
    assert found.losses["generator"] > found.losses["clean"] + 0.02
    assert found.losses["generator"] > found.losses["noise"] + 0.02
    moves, lengths = found.fakes(3) - found.vectors, np.linalg.norm(found.vectors, axis=1)
    np.testing.assert_allclose(np.linalg.norm(moves, axis=1), 0.3 * lengths, rtol=1e-4)
    assert np.abs(found.fakes(3) - found.fakes(4)).max() > 1e-3  # noise matters
    towards, away = found.says(np.array([2]), found.fakes(3) - found.vectors, k=1, seed=3)
    assert towards[0, 0] == 2 and away[0, 0] != 2  # its own move is the one most along it


def test_an_item_with_its_own_text_is_itself(case):
    for name in ("two-tower", "hybrid"):
        model = contract.build("embedding", name, "fgm").model
        np.testing.assert_array_equal(model.read(jnp.asarray(model.vectors.values)), model.items())


def test_components_of_new_texts_are_in_the_same_space():
    vectors = np.random.default_rng(0).normal(size=(30, 6))
    components = PrincipalComponents(vectors, 4)
    np.testing.assert_allclose(components(vectors), principal_components(vectors, 4))
    np.testing.assert_allclose(np.mean(components(vectors) ** 2), 1.0)
    np.testing.assert_allclose(
        components(vectors[:3] + 1) - components(vectors[:3]),
        np.broadcast_to(components(np.ones((1, 6))) - components(np.zeros((1, 6))), (3, 4)),
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("items.csv", b"item,title\n1,Matrix, The\n2,Heat\n", "more fields than its header"),
        ("items.zip", None, "no text in UTF-8"),
        ("items.csv", "item,title\n1,Ma\u00eetre\n".encode("latin-1"), "no text in UTF-8"),
    ],
)
def test_files_that_would_lose_something_are_refused(tmp_path, name, content, message):
    path = tmp_path / name
    if content is None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr("items.csv", "item,title\n1,Heat\n" * 99)
    else:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_item_texts(path, np.array([1, 2]))
