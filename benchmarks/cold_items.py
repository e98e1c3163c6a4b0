"""Can texts rank items that nobody has had yet, and does an adversary help?

    python benchmarks/cold_items.py --seeds 1 --output benchmarks/results/cold_items.jsonl    # ML-100K, ratings >= 4
    python benchmarks/cold_items.py --smoke                                                   # a made-up world, seconds

Of every split seed 10% of the items are out of train entirely, and they alone are ranked, for all users who had one of
them; 10% of the rest are out for validation in the same way. Rows: random, the popularity of an item's genres, ridge
regressions from texts to the factors of a truncated SVD of train (features: one-hot genre and year, TF-IDF, vectors of
MiniLM and of SmolLM2; factors and ridge chosen on validation, refitted on train + validation), and the two-tower over
each of these two, with and without its adversary (the epoch chosen on validation, refitted; each split's value is the
mean over its training seeds). A JSON line for each: the mean over splits with its 95% interval, and the difference from
the adversarial two-tower over MiniLM, split by split.
"""

import dataclasses
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

ENCODERS = {"MiniLM": "minilm", "SmolLM2": "smollm2"}


@dataclass(frozen=True)
class Options:
    """What to measure."""

    dataset: str = "ml-100k"
    """A named data set whose texts end in a year and genres."""
    positive_from: float = 4.0
    """Ratings from this value on are positive."""
    recommender: str = "two-tower"
    """two-tower or hybrid."""
    adversary: str = "fgm"
    """The other player."""
    epsilon: float | None = None
    """Radius of its ball (default: the recommender's)."""
    splits: int = 6
    """Split seeds, from 0."""
    seeds: int = 3
    """Training seeds of every split."""
    k: int = 20
    """Cut-off of NDCG."""
    on: str = "test"
    """test, or validation to choose settings by."""
    output: Path | None = None
    """A file that gets the lines."""
    smoke: bool = False
    """A made-up world, few epochs."""


def main(options: Options) -> None:
    """Measure all rows on every split."""
    import gan_rec
    from gan_rec.evaluation.significance import summary
    from gan_rec.experiments.environment import environment

    if options.smoke:
        options = dataclasses.replace(options, splits=2, seeds=1, k=5)
        data = made_up()
    else:
        data = gan_rec.load(options.dataset, positive_from=options.positive_from, item_text=True)
    features = {"one-hot": one_hot(data.item_texts), "TF-IDF": tf_idf(data.item_texts)}
    features |= {name: gan_rec.load_encoder(encoder).encode(data.item_texts) for name, encoder in ENCODERS.items()}
    rows: dict[str, list[float]] = {}
    for seed in range(options.splits):
        split = gan_rec.split(data, "cold-items", seed=seed)
        found = simple(split, data.item_texts, options, seed)
        found |= {f"ridge on {name}": ridge(split, x, options) for name, x in features.items()}
        for name, encoder in ENCODERS.items():
            found |= {f"{who} over {name}": value for who, value in towers(split, encoder, options).items()}
        for name, value in found.items():
            rows.setdefault(name, []).append(value)
            print(f"split {seed}: {name} {value:.4f}", flush=True)
    made_with = {n: v for n, v in environment(None).items() if n in ("git_revision", "packages", "device")}
    first = rows[f"adversarial over {next(iter(ENCODERS))}"]
    lines = [
        {"benchmark": "cold items", "model": name, "metric": f"NDCG@{options.k}", "splits": options.splits,
         "seeds": options.seeds, "value": summary(values), "over adversarial": summary(np.subtract(values, first)),
         "environment": made_with}
        for name, values in rows.items()
    ]  # fmt: skip
    text = "".join(json.dumps(line) + "\n" for line in lines)
    print(text, end="")
    if options.output is not None:
        options.output.write_text(text, encoding="utf-8")


def towers(split, encoder: str, options: Options) -> dict[str, float]:
    """The recommender over texts as a language model reads them, adversarial and alone."""
    import gan_rec

    extra = {"epochs": 10, "dim": 8, "units": 16, "components": 8} if options.smoke else {}
    if options.epsilon is not None:
        extra["epsilon"] = options.epsilon
    found = {}
    for name, choice in {"adversarial": {}, "twin": {"alpha": 1.0}}.items():
        model = gan_rec.fit(
            split, recommender=options.recommender, encoder=encoder, adversary=options.adversary, seeds=options.seeds,
            select_on=f"NDCG@{options.k}", refit=options.on == "test", progress=False, **extra, **choice,
        )  # fmt: skip
        found[name] = float(gan_rec.evaluate(model, options.on, (options.k,)).per_seed(f"NDCG@{options.k}").mean())
    return found


# Regressions from features of items to their factors.


def ridge(split, features, options: Options) -> float:
    """NDCG on the held-out items; the number of factors and the ridge are those that are best on validation."""
    warm, factors = split.train.candidates, svd(split.train)
    tried = {
        (d, strength): ndcg(split, *regress(factors, features, warm, d, strength), "validation", options.k)
        for d in (8, 16, 32)
        for strength in (0.3, 1, 3, 10, 30, 100)
    }
    chosen = max(tried, key=tried.get)
    if options.on == "validation":
        return tried[chosen]
    known = split.train_and_valid()
    return ndcg(split, *regress(svd(known), features, known.candidates, *chosen), "test", options.k)


def svd(known) -> tuple[np.ndarray, np.ndarray]:
    """Factors of users and of warm items, the largest first."""
    matrix = np.zeros((known.n_users, known.n_items))
    matrix[known.users, known.items] = 1
    users, sizes, items = np.linalg.svd(matrix[:, known.candidates], full_matrices=False)
    return users, items.T * sizes


def regress(factors, features, warm, d: int, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """The first d user factors `[U, d]`, and item factors `[I, d]` as ridge regression predicts them from features.

    Features are centred, and scaled so that a strength means the same for all kinds of them. What the regression falls
    back to, the mean of the items' factors, is their popularity.
    """
    users, items = (rows[:, :d] for rows in factors)
    x = features - features[warm].mean(axis=0)
    x = x / np.sqrt(np.mean(np.sum(x[warm] ** 2, axis=1)))
    centred = items - items.mean(axis=0)
    weights = np.linalg.solve(x[warm].T @ x[warm] + strength * np.eye(x.shape[1]), x[warm].T @ centred)
    return users, x @ weights + items.mean(axis=0)


def one_hot(texts) -> np.ndarray:
    """Genres and years, which are the last two fields of a text."""
    return _bags([[f"year {year}", *genres.split()] for year, genres in map(_year_and_genres, texts)])


def tf_idf(texts) -> np.ndarray:
    """Word counts times log inverse document frequency, scaled to length 1."""
    counts = _bags([re.findall(r"\w+", text.lower()) for text in texts])
    weighed = counts * (np.log((1 + len(counts)) / (1 + np.sum(counts > 0, axis=0))) + 1)
    return weighed / np.maximum(np.linalg.norm(weighed, axis=1, keepdims=True), 1e-12)


def _year_and_genres(text: str) -> tuple[str, str]:
    fields = ["", "", *text.split(". ")]
    return fields[-2], fields[-1]


def _bags(words_of: list[list[str]]) -> np.ndarray:
    place = {word: n for n, word in enumerate(sorted({word for words in words_of for word in words}))}
    bags = np.zeros((len(words_of), len(place)))
    for row, words in enumerate(words_of):
        np.add.at(bags[row], [place[word] for word in words], 1)
    return bags


# What needs no text but genres.


def simple(split, texts, options: Options, seed: int) -> dict[str, float]:
    """Random rows, and the mean popularity of the items that have a genre, averaged over an item's genres."""
    known = split.train if options.on == "validation" else split.train_and_valid()
    users = np.ones((known.n_users, 1))
    random = np.random.default_rng(seed).standard_normal((2, max(known.n_users, known.n_items), 8))
    counts = np.bincount(known.items, minlength=known.n_items)
    genres = _bags([_year_and_genres(text)[1].split() for text in texts])
    popular = (counts * known.candidates) @ genres / np.maximum(known.candidates @ genres, 1)
    by_genre = genres @ popular / np.maximum(genres.sum(axis=1), 1)
    return {
        "random": ndcg(split, random[0, : known.n_users], random[1, : known.n_items], options.on, options.k),
        "popularity of genres": ndcg(split, users, by_genre[:, None], options.on, options.k),
    }


def ndcg(split, users: np.ndarray, items: np.ndarray, on: str, k: int) -> float:
    """NDCG@k of the inner products of user and item rows, ranked like every other recommender's."""
    import jax
    import jax.numpy as jnp
    from flax import nnx

    from gan_rec.data.sampling import to_device
    from gan_rec.evaluation.evaluate import evaluate_ranking
    from gan_rec.recommenders import MatrixFactorization

    model = MatrixFactorization(*map(len, (users, items)), users.shape[1], rngs=nnx.Rngs(0))
    model.user_embedding[...], model.item_embedding[...] = (jnp.asarray(x, jnp.float32) for x in (users, items))
    known, truth = (split.train, split.valid) if on == "validation" else (split.train_and_valid(), split.open_test())
    one = jax.tree.map(lambda x: x[None], model)
    return float(evaluate_ranking(one, to_device(known), truth, (k,)).per_seed(f"NDCG@{k}")[0])


def made_up():
    """The synthetic world, with texts that know nothing."""
    import gan_rec

    data = gan_rec.load("synthetic")
    texts = tuple(f"film {i}. {1990 + i % 7}. {('Drama', 'Comedy War')[i % 2]}" for i in range(data.n_items))
    return dataclasses.replace(data, item_texts=texts)


if __name__ == "__main__":
    main(tyro.cli(Options))
