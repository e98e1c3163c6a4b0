"""Edits of descriptions that promote or demote an item."""

import contract
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import interactions

from gan_rec.errors import UserError
from gan_rec.robustness.text_evasion import Evaded, Readers, candidates, evade


def like(word: str) -> list[str]:
    return {"good": ["great", "nice"], "film": ["movie"]}.get(word, [])


def test_candidates_are_one_edit_away_and_keep_case_and_ends_of_words():
    found = dict(candidates("Good film of 1999", set(), like))
    assert found == {
        "Great film of 1999": 0, "Nice film of 1999": 0, "Good movie of 1999": 1, "Good flim of 1999": 1,
    }  # fmt: skip
    assert set(dict(candidates("GOOD film", {1}, like))) == {"GREAT film", "NICE film"}
    assert candidates("Up", set(), like) == []


@pytest.fixture(scope="module", params=["two-tower", "hybrid"])
def case(request):
    """A recommender with weights that differ, users' histories, and a text for each item of words that are numbers."""
    model = contract.build("embedding", request.param, "fgm").model
    model = jax.tree.map(lambda x: x + 0.3 * jax.random.normal(jax.random.key(x.size), x.shape), model)
    n_items, size = model.vectors.values.shape
    rng = np.random.default_rng(0)
    known = interactions([(u, i) for u in range(20) for i in rng.choice(n_items, 3, replace=False)], 20, n_items)
    texts = [" ".join(f"word{'abcdefghij'[i % 10]} item plain".split()) for i in range(n_items)]
    moves = {}

    def vectors(own: list[str]) -> np.ndarray:
        """The item's vector, and a random direction for each word that has not been there."""
        found = np.zeros((len(own), size))
        for row, text in enumerate(own):
            found[row] = model.vectors.values[0]
            for word in text.split():
                if word not in texts[0].split():
                    moves.setdefault(word, np.random.default_rng(sum(map(ord, word))).normal(size=size))
                    found[row] += moves[word]
        return found

    words = {"item": ["thing", "object", "piece"], "plain": ["simple", "bare", "clear"]}
    return model, known, texts, Readers(vectors, lambda word: words.get(word, []))


def test_greedy_edits_do_more_than_random_ones_either_way(case):
    model, known, texts, how = case
    for promote, sign in ((True, 1), (False, -1)):
        best = evade(model, known, texts, 0, how, promote=promote, budget=2)
        drawn = [
            evade(model, known, texts, 0, how, promote=promote, budget=2, choose="random", seed=seed)
            for seed in range(10)
        ]
        assert sign * best.rank_change < sign * np.mean([each.rank_change for each in drawn])
        assert 0 < best.edits <= 2 and best.text != texts[0]


def test_ranks_are_those_of_the_model(case):
    """Before: from all scores. After: with the row that the model reads from the new text."""
    model, known, texts, how = case
    found = evade(model, known, texts, 0, how, budget=1)
    history = np.zeros((20, known.n_items), np.float32)
    history[known.users, known.items] = 1
    values = np.array(model.vectors.values)
    for text, ranks in ((texts[0], found.before), (found.text, found.after)):
        values[0] = how.vectors([text])[0]
        rows = model.users(jnp.arange(20), jnp.asarray(history))
        scores = np.where(history > 0, -np.inf, np.asarray(model.score(rows, model.read(jnp.asarray(values)))))
        expected = [1 + np.sum(own > own[0]) for own, had in zip(scores, history[:, 0], strict=True) if not had]
        np.testing.assert_array_equal(ranks, expected)


def test_a_budget_of_nothing_changes_nothing(case):
    model, known, texts, how = case
    found = evade(model, known, texts, 0, how, budget=0)
    assert found.text == texts[0] and found.edits == 0 and found.rank_change == 0


def test_success_counts_users_whose_list_changed():
    before, after = np.array([5, 20, 30, 40]), np.array([50, 3, 10, 11])
    assert Evaded(0, "", 1, before, after, True).success == pytest.approx(2 / 3)
    assert Evaded(0, "", 1, before, after, False).success == 1.0
    assert Evaded(0, "", 1, before, after, True).rank_change == pytest.approx((45 - 17 - 20 - 29) / 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"choose": "best"}, "unknown choice 'best'; allowed: greedy, random"),
        ({"budget": -1}, "the budget must be at least 0 edits, got -1"),
        ({"target": 999}, "the target must be an item from 0 to"),
    ],
)
def test_mistakes(case, options, message):
    model, known, texts, how = case
    with pytest.raises(UserError, match=message):
        evade(model, known, texts, **{"target": 0, "how": how} | options)
