"""One table, every game x recommender x adversary that fits; and mutants: each defect of public code, put in again."""

import itertools

import contract
import jax
import numpy as np
import optax
import pytest

from gan_rec.experiments import choices

SMALL = {"noise": 3, "hidden": 4, "anchors": 5, "profile_length": 2, "modality_dim": 2}


def _case(game, recommender, adversary, **options):
    sizes = {n: v for n, v in SMALL.items() if n in choices.ADVERSARIES[adversary]}
    if recommender == "sasrec":
        sizes |= {"heads": 1}  # of 5 units
    if recommender == "cross-domain":
        sizes["own_dim"] = 3
    if recommender == "multimodal":
        sizes["modality_dim"] = SMALL["modality_dim"]
    if adversary == "gradient-generator":
        sizes["hidden"] = 8  # of 4 units all that are active may belong to users without a target
    return (game, recommender, adversary, tuple((sizes | options).items()))


def _over_the_catalogue(recommender):
    rows = [_case("irgan", recommender, "pair-critic", ranker=r, samples=300) for r in ("generator", "discriminator")]
    for kind in ("minimax", "non-saturating", "hinge", "wasserstein"):
        side = "item" if kind == "hinge" else "user"
        rows.append(_case("cfgan", recommender, "vector-critic", critic_loss=kind, side=side, mask_ratio=0.5))
    return rows


def networks_of(game):
    """A mix is no player of its own: its parts are autoencoders, and play one after the other."""
    return [name for name in choices.players_of(game) if name != "mix"]


def table():
    rows = []
    for recommender in networks_of("embedding"):
        for adversary in choices.GAMES["embedding"].adversaries:
            rows.append(_case("embedding", recommender, adversary, epsilon=0.3))
        if "apr" not in choices.RECOMMENDERS[recommender].games:
            continue
        for adversary in choices.GAMES["apr"].adversaries:
            rows.append(_case("apr", recommender, adversary, epsilon=0.3))
        if "cfgan" in choices.RECOMMENDERS[recommender].games:
            rows += _over_the_catalogue(recommender)
        rows.append(_case("hard-negative", recommender, "own-scores", negatives=4))
        rows.append(_case("hard-negative", recommender, "hardness", negatives=4, loss="bce"))
        rows.append(_case("advinfonce", recommender, "hardness", negatives=4))
    for adversary in ("generator", "fgm", "fgsm", "pgd", "attention"):
        rows.append(_case("embedding", "mf", adversary, epsilon=0.3, norm="linf", radii="by-loss", loss="softmax"))
    rows.append(_case("embedding", "mf", "generator", epsilon=0.3, loss="sampled-softmax", bias=True))
    rows.append(_case("embedding", "autoencoder", "generator", epsilon=0.3, feeding="alternate"))
    for adversary in ("generator", "fgm"):
        rows.append(_case("embedding", "autoencoder", adversary, epsilon=0.3, side="item"))
    rows.append(_case("embedding", "two-tower", "generator", epsilon=0.3, reads="text"))
    for adversary in ("fgm", "generator", "vat"):
        rows.append(_case("embedding", "sasrec", adversary, epsilon=0.3, attacked="inputs"))
        rows.append(_case("embedding", "gru", adversary, epsilon=0.3, loss="softmax"))
    for adversary in choices.ON_FEATURES:
        fusion = "early" if adversary == "fgsm" else "late"
        rows.append(_case("embedding", "multimodal", adversary, epsilon=0.3, under_attack="features", fusion=fusion))
    rows.append(_case("embedding", "multimodal", "fgm", epsilon=0.3, under_attack="features", loss="bpr"))
    rows.append(_case("apr", "multimodal", "pgd", epsilon=0.3, under_attack="features"))
    rows.append(_case("embedding", "two-tower", "fgm", epsilon=0.3, under_attack="features"))
    # A tower's bias cancels from differences of scores: bpr has no gradient for it.
    rows.append(_case("embedding", "hybrid", "fgm", epsilon=0.3, under_attack="features", loss="bce"))
    rows.append(_case("embedding", "social-lightgcn", "fgm", epsilon=0.3, spread="joint", link_penalty=0.1))
    rows.append(_case("domain", "cross-domain", "domain-critic", negatives=6))
    for adversary in choices.GAMES["text"].adversaries:
        rows.append(_case("text", "text-classifier", adversary, epsilon=0.3, head=(6, 4)))
    rows.append(_case("text", "text-classifier", "fgm", epsilon=0.3, head=(6,), feeding="alternate"))
    for adversary in ("fgm", "vat", "pgd", "free", "noise"):
        rows.append(_case("text", "tuned-text-classifier", adversary, epsilon=0.3, head=(6, 4), trainable=1))
    rows.append(_case("text", "tuned-text-classifier", "fgm", epsilon=0.3, head=(6, 4), trainable=3))
    for adversary in choices.GAMES["rating"].adversaries:
        rows.append(_case("rating", "rating-predictor", adversary, epsilon=0.3))
    return rows


TABLE = table()
IDS = ["-".join(map(str, (*row[:3], *(v for k, v in row[3] if k not in SMALL)))) for row in TABLE]


def _marks(row, earlier):
    """The fast lane takes all adversaries against one recommender, and what must be in it once: see `_again`."""
    slow = {
        "tuned-text-classifier": row[2] not in ("fgm", "free"),
        "two-tower": row[0] != "embedding" or row[2] not in ("generator", "fgm"),
        "hybrid": row[0] != "embedding" or row[2] not in ("generator", "fgm"),
        # These differ from sasrec, lightgcn and mf in how rows are made, not in what is done to them.
        "multimodal": "under_attack" not in dict(row[3])
        and (row[0] != "embedding" or row[2] not in ("generator", "fgm")),
        "gru": row[2] not in ("generator", "fgm"),
        "social-lightgcn": row[0] != "embedding" or row[2] not in ("generator", "fgm"),
    }
    if slow.get(row[1], False):
        return pytest.mark.slow
    return pytest.mark.long if _again(row, earlier) else ()


def _again(row, earlier):
    """One recommender plays every game, a second and those of labels their own one; all else is of the long lane."""
    game, recommender, adversary, options = row
    if (game, recommender) == ("embedding", "mf"):
        return not {"norm", "loss"}.isdisjoint(dict(options))
    another = game in ("apr", "hard-negative", "advinfonce", "irgan") and recommender != "mf"
    if "under_attack" in dict(options):
        return (recommender, adversary) != ("multimodal", "fgm") or "loss" in dict(options)
    more = (
        "tuned-text-classifier", "mult-vae", "lightgcn", "social-lightgcn", "multimodal", "two-tower", "hybrid",
        "sasrec", "gru", "cross-domain",
    )  # fmt: skip
    return another or (game, recommender) in earlier or recommender in more


MARKED = [pytest.param(row, marks=_marks(row, {each[:2] for each in TABLE[:n]})) for n, row in enumerate(TABLE)]


@pytest.mark.parametrize("row", MARKED, ids=IDS)
def test_contract(row, tmp_path):
    game, recommender, adversary, options = row
    case = contract.build(game, recommender, adversary, **dict(options))
    both = contract.run(case)
    if getattr(case.game, "alternates", False):
        case.batch = case.batch._replace(turn=0)
    for check in contract.ON_A_BATCH:
        if not (getattr(case.game, "alternates", False) and check in NOT_IN_TURNS):
            check(case, both)
    for check in contract.ON_EPOCHS:
        check(case, tmp_path)


# A game that feeds by turns has one term on each batch; its epochs are checked all the same.
NOT_IN_TURNS = (
    contract.finite_scalars, contract.recommender_feels_the_adversary, contract.fakes_are_fresh,
    contract.adversary_hurts,
)  # fmt: skip


def test_the_table_is_complete():
    """Every name of every list stands in it, and there are at least 40 combinations."""
    assert len(set(IDS)) == len(TABLE) >= 40
    fits = {
        (game, recommender, adversary)
        for game, choice in choices.GAMES.items()
        for recommender, adversary in itertools.product(networks_of(game), choice.adversaries)
        if recommender != "tuned-text-classifier" or adversary not in choices.OF_SENTENCES
    }
    assert {row[:3] for row in TABLE} == fits


def test_alternating_descent_on_xy_follows_its_closed_form():
    """The adversary y moves first: y += r x, then x -= r y; three rounds are the cube of one matrix."""
    from test_epoch import Saddle

    from gan_rec.data.sampling import to_device
    from gan_rec.train.epoch import Schedule, State, play

    class SGD(Schedule):
        def recommender_optimizer(self):
            return optax.sgd(0.1)

        def adversary_optimizer(self):
            return optax.sgd(0.1)

    one = jax.numpy.float32(1.0)
    state = State(one, one, optax.sgd(0.1).init(one), optax.sgd(0.1).init(one), one, one, jax.numpy.int32(0))
    state, _ = play(state, to_device(contract.pairs()), Saddle(), SGD(batch_size=5, average=0.0), jax.random.key(0))
    round_of = np.array([[0.99, -0.1], [0.1, 1.0]])  # 14 users in batches of 5 are three rounds
    expected = np.linalg.matrix_power(round_of, 3) @ [1, 1]
    np.testing.assert_allclose([state.recommender, state.adversary], expected, rtol=1e-5)
