"""The table of names and defaults says what the classes say, and every mistake is named."""

import dataclasses
import inspect
from functools import partial

import pytest

import gan_rec.adversaries
import gan_rec.games
import gan_rec.recommenders
from gan_rec.errors import UserError
from gan_rec.experiments import choices, players
from gan_rec.experiments.default_recommender import most_accurate
from gan_rec.experiments.run import attack_radius
from gan_rec.experiments.settings import DataOptions, Settings, TextOptions


def plain(cls):
    return cls.func if isinstance(cls, partial) else cls


def test_names_are_those_of_the_classes():
    assert set(choices.GAMES) == set(gan_rec.games.GAMES)
    assert set(choices.ADVERSARIES) == set(gan_rec.adversaries.ADVERSARIES)
    assert set(choices.RECOMMENDERS) == set(gan_rec.recommenders.RECOMMENDERS)


@pytest.mark.parametrize("name", choices.ADVERSARIES)
def test_adversaries_have_the_options_and_defaults_of_the_table(name):
    parameters = inspect.signature(gan_rec.adversaries.ADVERSARIES[name].__init__).parameters
    defaults = {n: p.default for n, p in parameters.items() if p.default is not inspect.Parameter.empty}
    assert {n: v for n, v in defaults.items() if n != "rngs"} == choices.ADVERSARIES[name]


@pytest.mark.parametrize("name", [name for name in choices.RECOMMENDERS if name != "mix"])  # whose parts have them
def test_recommenders_have_the_options_of_the_table(name):
    cls = gan_rec.recommenders.RECOMMENDERS[name]
    signatures = [inspect.signature(c.__init__).parameters for c in cls.__mro__ if "__init__" in vars(c)]
    defaults = {n: p.default for parameters in signatures for n, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
    # Of texts: what reads them, and what is made of them before a recommender is; of sequences what the game takes.
    read = ("encoder", "components", "pooling", "trainable", "longest", "attacked")
    own = {n: v for n, v in choices.RECOMMENDERS[name].options.items() if n not in read}
    given = ("rngs", "vectors", "modalities", "links", "domains", "features", "scored", "multiple", *read)
    assert {n: v for n, v in defaults.items() if n not in given} == own


@pytest.mark.parametrize("name", choices.GAMES)
def test_games_have_the_options_of_the_table(name):
    fields = {f.name for f in dataclasses.fields(plain(gan_rec.games.GAMES[name]))}
    assert set(choices.GAMES[name].options) - {"side"} <= fields


def test_every_option_stands_in_the_settings_and_in_the_help(capsys):
    from gan_rec import cli

    fields = {f.name for f in dataclasses.fields(Settings)}
    options = {n for g in choices.GAMES.values() for n in g.options} | set(choices.OPTIONS_OF_ADVERSARIES)
    assert options <= fields
    with pytest.raises(SystemExit) as stop:
        cli.main(["train", "--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    for name in options | {"adversary"}:
        assert f"--{name.replace('_', '-')}" in shown
    for name in choices.ADVERSARIES:
        assert name in shown


@pytest.mark.parametrize(
    ("game", "recommender"), [(game, player) for game in choices.GAMES for player in choices.players_of(game)]
)
def test_defaults_resolve_and_resolve_again(game, recommender):
    settings = Settings(game=game, recommender=recommender).resolved()
    assert settings.resolved() == settings
    assert settings.adversary == choices.GAMES[game].adversaries[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"game": "chess"}, "unknown game 'chess'; allowed: embedding, apr, irgan, cfgan, hard-negative, advinfonce"),
        ({"adversary": "critic"}, "unknown adversary 'critic'; allowed: generator, .*, or a class of yours"),
        (
            {"game": "cfgan", "adversary": "critic"},
            "unknown adversary 'critic'; allowed: vector-critic .in other games",
        ),
        ({"game": "irgan", "adversary": "fgm"}, "adversary 'fgm' does not play game 'irgan'; allowed: pair-critic$"),
        ({"game": "cfgan", "adversary": "my:Own"}, "takes no adversary of your own; games that do: embedding, apr"),
        ({"adversary": "fgm", "hidden": 3}, "hidden is no option of game 'embedding' .* adversary 'fgm'; options: "),
        ({"zero_ratio": 0.5}, "zero_ratio is no option of game 'embedding'"),
        ({"recommender": "mf", "dropout": 0.1}, "dropout is no option"),
        ({"game": "cfgan", "loss": "bpr"}, "game 'cfgan' brings its own loss"),
        ({"game": "apr", "loss": "softmax"}, "unknown loss 'softmax'; allowed: bpr, sampled-softmax, bce"),
        ({"norm": "l1"}, "unknown norm 'l1'; allowed: l2, linf"),
        ({"form": "beta"}, "form 'beta' needs loss 'bce'"),
        ({"game": "irgan", "critic_loss": "wasserstein"}, "critic_loss 'wasserstein' needs game 'cfgan'"),
        ({"adversary": "free", "recommender_steps": 2}, "recommender_steps 2 must be 1"),
        ({"adversary": "free", "feeding": "alternate"}, "feeding 'alternate' must be 'joint'"),
        ({"feeding": "alternate", "balance": "gradient"}, "balance 'gradient' must be 'fixed'"),
        ({"moves": "simultaneous", "game": "cfgan"}, "moves 'simultaneous' needs one step of each player"),
        ({"game": "irgan", "recommender": "mf", "epochs": 50}, r"warm_up 100 must be less than epochs \(50\)"),
        ({"game": "apr", "adversary": "accumulated", "balance": "gradient"}, "balance 'gradient' must be 'fixed'"),
        ({"adversary": "kl-dro", "norm": "linf"}, "adversary 'kl-dro' moves no rows"),
        ({"adversary": "kl-dro", "loss": "bce", "form": "beta"}, "form 'beta' must be 'alpha' with adversary 'kl-dro'"),
        ({"balance": "sometimes"}, "unknown balance 'sometimes'; allowed: fixed, gradient, validation"),
        ({"adversary": "pgd", "attack_steps": 0}, "attack_steps must be at least 1, got 0"),
        ({"game": "hard-negative", "temperature": 0.0}, "temperature must be at least 1e-6, got 0.0"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(UserError, match=message):
        Settings(**options).resolved()


@pytest.mark.parametrize(
    ("settings", "split", "expected"),
    [
        ({}, None, "mix"),
        ({"adversary": "fgm", "dim": 8, "item_dim": 4}, "random", "mix"),
        ({"recommender": "mf"}, None, "mf"),
        ({"loss": "bpr"}, None, "autoencoder"),
        ({"warm_up": 2}, None, "autoencoder"),
        ({"side": "item"}, None, "autoencoder"),
        ({"adversary": "my_module:Shift"}, None, "autoencoder"),
        ({"game": "cfgan"}, None, "autoencoder"),
        ({}, "cold-items", "autoencoder"),
    ],
)
def test_who_plays_for_the_command_train_where_nobody_is_named(settings, split, expected):
    assert most_accurate(Settings(**settings), DataOptions(split=split)).recommender == expected


def test_an_option_of_the_mix_asks_for_it():
    assert most_accurate(Settings(edlae_l2=9.0), DataOptions()).recommender == "mix"
    with pytest.raises(UserError, match="warm_up 1 must be 0 with recommender 'mix'"):
        most_accurate(Settings(item_dim=8, warm_up=1), DataOptions())


def test_both_networks_of_the_mix_take_what_is_said_of_one():
    small = Settings(recommender="mix", dim=4, epochs=3, item_epochs=5).resolved()
    assert (small.dim, small.item_dim, small.epochs, small.item_epochs) == (4, 4, 3, 5)
    assert small.item_learning_rate == Settings(recommender="mix").resolved().item_learning_rate


def test_who_plays_elsewhere_where_nobody_is_named():
    assert Settings().resolved().recommender == "autoencoder"
    assert Settings(game="rating").resolved().recommender == "rating-predictor"
    with pytest.raises(UserError, match="unknown recommender ''; allowed: autoencoder, mix"):
        Settings(recommender="").resolved()
    with pytest.raises(UserError, match="unknown game 'chess'"):
        most_accurate(Settings(game="chess"), DataOptions())


@pytest.mark.parametrize("recommender", ["mf", "mix"])
def test_models_are_attacked_by_radii_of_rows(recommender, small_split):
    """Not by a KL divergence of users' weights, which has the same name."""
    fgm, kl = (
        Settings(recommender=recommender, adversary=name, epsilon=0.7, dim=4).resolved() for name in ("fgm", "kl-dro")
    )
    found = [players.attackers(each, small_split.train)[0].epsilon for each in (fgm, kl)]
    assert found == [attack_radius(fgm), attack_radius(kl)] == [0.7, choices.GAMES["embedding"].options["epsilon"]]


@pytest.mark.parametrize("options", [{"loss": "bce"}, {"game": "text", "recommender": "text-classifier"}])
def test_free_training_needs_a_gradient_on_what_it_moves(options):
    """The gradient on positives, which it takes again, moves no negatives: nothing would be attacked."""
    with pytest.raises(UserError, match="form 'article-alpha' does not go with adversary 'free'"):
        Settings(adversary="free", form="article-alpha", **options).resolved()
    assert Settings(adversary="free", form="article-beta", **options).resolved().form == "article-beta"


def test_no_option_of_a_command_has_two_meanings():
    """On the command line data, settings and texts share one list of names."""
    names = [f.name for kind in (DataOptions, Settings, TextOptions) for f in dataclasses.fields(kind)]
    assert len(names) == len(set(names))
