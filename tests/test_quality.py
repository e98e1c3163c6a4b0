"""Quality floors on real data: what the README promises. Minutes each, so they wait for -m slow."""

import json

import jax
import jax.numpy as jnp
import pytest

import gan_rec
from gan_rec import cli
from gan_rec.data.sampling import to_device
from gan_rec.evaluation.evaluate import evaluate_ranking
from gan_rec.experiments.models import MODELS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cfgan(data_folder, tmp_path_factory):
    """The autoencoder on CFGAN's split, 3 seeds."""
    out = tmp_path_factory.mktemp("quality") / "cfgan"
    arguments = f"--dataset {data_folder / 'cfgan-ml100k'} --recommender autoencoder --seeds 3 --quiet --out {out}"
    cli.main(["train", *arguments.split()])
    return json.loads((out / "results.json").read_text())


@pytest.mark.parametrize("model", ["adversarial", "twin"])
def test_accuracy_beats_tuned_linear_models(cfgan, model):
    """EASE reaches NDCG@20 .432 and P@5 .437 here, CFGAN (chosen on test) .433 and .444."""
    assert cfgan["models"][model]["NDCG@20"]["mean"] >= 0.438
    assert cfgan["models"][model]["P@5"]["mean"] >= 0.438


def test_popularity_is_what_others_measure(cfgan):
    popularity = cfgan["baselines"]["popularity"]
    assert popularity["NDCG@20"]["mean"] == pytest.approx(0.213, abs=5e-4)
    assert popularity["P@5"]["mean"] == pytest.approx(0.208, abs=5e-4)
    assert popularity["R@20"]["mean"] == pytest.approx(0.167, abs=5e-4)


def test_the_adversary_plays(cfgan):
    """The twin suffers more from the generator than from noise, and more than the adversarially trained model."""
    losses = cfgan["loss_under_attack"]
    assert losses["twin"]["generator"]["rise"]["ci95"][0] > losses["twin"]["noise"]["rise"]["ci95"][1]
    assert losses["rise_difference"]["generator"]["mean"] < 0


def test_the_default_beats_every_baseline(data_folder, tmp_path):
    """The best closed forms reach .4399 (SLIM) and .4390 (EDLAE). Measured: .4499, against fgm .4503."""
    arguments = f"train --dataset {data_folder / 'cfgan-ml100k'} --seeds 2 --quiet --out {tmp_path}/run"
    cli.main(arguments.split())
    assert json.loads((tmp_path / "run" / "config.json").read_text())["recommender"] == "mix"
    models = json.loads((tmp_path / "run" / "results.json").read_text())["models"]
    for model in ("adversarial", "twin"):
        assert models[model]["NDCG@20"]["mean"] >= 0.444


@pytest.mark.parametrize(
    ("name", "floor"),
    [
        ("popularity", 0.2125), ("item-knn", 0.404), ("user-knn", 0.393), ("rp3beta", 0.369), ("pure-svd", 0.419),
        ("ease", 0.428), ("edlae", 0.435), ("slim", 0.431), ("ials", 0.428),
    ],
)  # fmt: skip
def test_baselines_are_strong(data_folder, name, floor):
    """At their defaults within .004 of what is measured elsewhere, but for item-knn (.406)."""
    split = gan_rec.split(gan_rec.load(data_folder / "cfgan-ml100k"))
    pairs, baseline = split.train_and_valid(), MODELS[name]
    fitted = baseline.make(**baseline.defaults(split)).fit(pairs)
    one = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], fitted)
    found = evaluate_ranking(one, to_device(pairs), split.open_test(), (20,)).per_seed("NDCG@20")[0]
    assert floor <= found < 0.45


def test_matrix_factorisation_is_tuned(data_folder, tmp_path):
    """Plain BPR reaches NDCG@20 .344 to .399 elsewhere, LightGCN .408; measured here: .417 and .420."""
    arguments = f"train --dataset {data_folder / 'cfgan-ml100k'} --recommender mf --seeds 1 --quiet --out {tmp_path}/mf"
    cli.main(arguments.split())
    models = json.loads((tmp_path / "mf" / "results.json").read_text())["models"]
    for model in ("adversarial", "twin"):
        assert models[model]["NDCG@20"]["mean"] >= 0.41


def test_cfgan_plays_from_its_critic_alone(data_folder, tmp_path):
    """Without a data loss (alpha 0). Published .433 and .444, chosen on test; its original code reaches .421."""
    out = tmp_path / "cfgan"
    cli.main(f"train --dataset {data_folder / 'cfgan-ml100k'} --game cfgan --seeds 3 --quiet --out {out}".split())
    results = json.loads((out / "results.json").read_text())
    assert json.loads((out / "config.json").read_text())["alpha"] == 0
    assert results["models"]["adversarial"]["NDCG@20"]["mean"] >= 0.440
    assert results["models"]["adversarial"]["P@5"]["mean"] >= 0.440


def test_texts_rank_cold_items():
    """Of six splits. Measured: .3105, too close to the .310 of a ridge regression elsewhere to be a floor."""
    import numpy as np
    from test_language import installed

    installed("minilm")
    data, found = gan_rec.load("ml-100k", positive_from=4, item_text=True), []
    for seed in range(6):
        split = gan_rec.split(data, "cold-items", seed=seed)
        model = gan_rec.fit(split, recommender="two-tower", adversary="fgm", seeds=1, progress=False)
        found.append(gan_rec.evaluate(model, ks=(20,)).per_seed("NDCG@20")[0])
    assert np.mean(found) > 0.29
