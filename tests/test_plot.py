"""Pictures: what they show, and that it can be read: names, units, legends beside the data, no need of colours."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from test_evasion import frame

from gan_rec import plot
from gan_rec.errors import UserError
from gan_rec.evaluation.significance import summary
from gan_rec.experiments.evasion import Evasion
from gan_rec.experiments.watching import Snapshot, Watched
from gan_rec.plot.canvas import style

pytest.importorskip("matplotlib")


def history(shift: float = 0.0) -> pd.DataFrame:
    rows = [
        {"phase": phase, "epoch": epoch, "seed": seed, "data_loss": 3.0 - epoch / 9 + seed + shift,
         "adversarial_loss": 3.5 - epoch / 9 + seed, "adversary_loss": 0.0,
         "validation NDCG@5": epoch / 9 + seed / 10 + shift if epoch % 2 == 0 else None}
        for phase in ("selection", "refit") for epoch in range(1, 7) for seed in (0, 1)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def watched() -> Watched:
    rng = np.random.default_rng(0)
    columns = ["data_loss", "adversarial_loss", "recommender_gradient", "user_distance", "item_distance"]
    rows = pd.DataFrame({"epoch": [0, 1, 2]} | {name: 1.0 + np.arange(3) for name in columns})
    shots = [Snapshot(n, *rng.normal(size=(4, 9, 5)).astype(np.float32)) for n in range(3)]
    return Watched(rows.assign(adversary_gradient=np.nan), shots)


def board() -> dict:
    def model(mean, seeds):
        return {"test": {m: summary([mean] * seeds) for m in ("NDCG@5", "popularity@5")},
                "over_users": {"ci95": [mean - 0.1, mean + 0.2]}}  # fmt: skip

    models = {"mf": model(0.3, 2), "ease": model(0.5, 1), "mf+fgm": model(0.4, 2)}
    return {"metric": "NDCG@5", "dataset": "a $ b", "models": models}


def accuracy() -> pd.DataFrame:
    return pd.DataFrame(
        [(rows, 5, radius, model, 0, 1 - radius, 0.5 - radius) for rows in ("users", "items") for radius in (0.0, 0.1)
         for model in ("twin", "adversarial")],
        columns=["rows", "k", "radius", "model", "seed", "unchanged", "accuracy"],
    )  # fmt: skip


def fakes() -> pd.DataFrame:
    rows = [
        {"recommender": "mf", "attack": attack, "budget": budget, "defence": defence, "hit_ratio": 0.1 + budget,
         "hit_ratio_low": None if budget else 0.05, "hit_ratio_high": None if budget else 0.2}
        for attack, budget in (("none", 0.0), ("gan", 0.01)) for defence in ("none", "filter")
    ]  # fmt: skip
    return pd.DataFrame(rows)


def trials() -> pd.DataFrame:
    return pd.DataFrame({"adversary": [None, "vat", "pgd"], "clean": [0.3, 0.29, 0.2], "attacked": [0.1, 0.2, 0.15]})


def explained():
    moved = pd.DataFrame({"rank before": [1, 9, 2], "rank after": [8, 1, 2], "change": ["left", "entered", "stayed"]})
    bars = [("items of the history", "part of the score", pd.DataFrame({"name": ["$1", "b"], "attribution": [1, -1]}))]
    return SimpleNamespace(
        bars=lambda n: bars, moved=moved, attack="fgm", name="$9", user=1, rank=1, method="leave-one-out"
    )


def deleted():
    curves = {order: {m: np.ones((2, 4, 3)) for m in ("score", "gain")} for order in ("leave-one-out", "random")}
    return SimpleNamespace(curves=curves, shares=(0.0, 0.5, 1.0), plain_orders=("random",))


@pytest.fixture(scope="module")
def pictures() -> dict:
    evasion = Evasion(pd.concat([frame(fgm=0.5, pgd=0.4), frame(fgm=0.7, pgd=0.6).assign(model="b")]), frame(), 5)
    two = {"adversarial": history(), "twin": history(0.05)}
    return {
        "losses": plot.losses(two), "validation": plot.validation(two), "watched": plot.watched(watched()),
        "moves": plot.moves(watched()), "damage": plot.damage(evasion), "certified": plot.certified(accuracy()),
        "poisoning": plot.poisoning(fakes()), "hardening": plot.hardening(trials(), trials()[:2], trials().iloc[1]),
        "leaderboard": plot.leaderboard(board()), "popularity": plot.popularity(board()),
        "embeddings": plot.embeddings(np.random.default_rng(0).normal(size=(30, 4)), ["a", "b", "c"] * 10),
        "explanation": plot.explanation(explained()), "deletion": plot.deletion(deleted()),
    }  # fmt: skip


def test_every_axis_has_a_name_and_no_legend_covers_data(pictures):
    for name, figure in pictures.items():
        figure.draw_without_rendering()
        shared = len(figure.axes[0].get_shared_y_axes().get_siblings(figure.axes[0])) > 1
        for i, axes in enumerate(figure.axes):
            ticks = [label.get_text() for label in axes.get_xticklabels()]
            assert axes.get_xlabel() or "attacked" in ticks or name == "poisoning", name
            assert axes.get_ylabel() or (i and (shared or name in ("losses", "moves"))) or name == "explanation", name
            assert axes.get_legend() is None, name
        (legend,) = figure.legends
        box = legend.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= figure.bbox.x1, name
        assert not any(box.overlaps(axes.get_window_extent()) for axes in figure.axes), name
        assert len({text.get_text() for text in legend.get_texts()}) == len(legend.get_texts()), name


def test_lines_differ_without_their_colours(pictures):
    marks = {(own["linestyle"], own["marker"], own["markerfacecolor"] == "white") for own in map(style, range(28))}
    assert len(marks) == 28
    for name in ("losses", "validation", "damage", "certified", "deletion"):
        axes = pictures[name].axes[0]
        seen = [(line.get_linestyle(), line.get_marker()) for line in axes.get_lines()]
        assert len(seen) >= 2 and len(set(seen)) == len(seen), name


def test_a_line_is_the_mean_of_its_seeds_and_its_band_their_range():
    line, other = plot.validation({"adversarial": history(), "twin": history(0.05)}).axes[0].get_lines()
    np.testing.assert_allclose(line.get_xdata(), [2, 4, 6])
    np.testing.assert_allclose(line.get_ydata(), np.array([2, 4, 6]) / 9 + 0.05)
    np.testing.assert_allclose(other.get_ydata() - line.get_ydata(), 0.05)
    band = plot.validation(history()).axes[0].collections[0].get_paths()[0].vertices
    assert np.ptp(band[band[:, 0] == 4, 1]) == pytest.approx(0.1)


def test_losses_are_those_of_the_selection():
    panel = plot.losses(history()).axes[0]
    found = {line.get_label(): line.get_ydata() for line in panel.get_lines()}
    assert set(found) == {"recommender, on real rows", "recommender, on fakes"}  # one that is 0 throughout is none
    np.testing.assert_allclose(found["recommender, on real rows"], 3.5 - np.arange(1, 7) / 9)


def test_the_best_model_is_on_top_and_intervals_are_where_they_are():
    axes = plot.leaderboard(board()).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["mf", "mf+fgm", "ease"]
    ends = [lines.get_segments()[0][:, 0].tolist() for lines in axes.collections if lines.get_linewidth()[0] == 1]
    np.testing.assert_allclose(ends, [[0.2, 0.5], [0.3, 0.6], [0.4, 0.7]])
    faces = [line.get_markerfacecolor() for line in axes.get_lines()]
    assert faces == ["white", "black", "white"]  # filled: against an adversary


def test_a_projection_finds_the_plane():
    rng = np.random.default_rng(1)
    plane, _ = np.linalg.qr(rng.normal(size=(6, 2)))
    rows = 7 + (rng.normal(size=(200, 2)) * [5, 2]) @ plane.T
    found = plot.projection(rows)
    assert found.share == pytest.approx(1) and (found.axes[np.arange(2), np.abs(found.axes).argmax(axis=1)] > 0).all()
    np.testing.assert_allclose(found(rows) @ found.axes + found.centre, rows)
    values, vectors = np.linalg.eigh(np.cov(rows.T))
    np.testing.assert_allclose(np.abs(np.sum(found.axes * vectors[:, [-1, -2]].T, axis=1)), 1)
    np.testing.assert_allclose(found(rows).var(axis=0, ddof=1), values[[-1, -2]])
    assert plot.projection(np.ones((3, 3))).share == 0


def test_item_rows_of_a_model_are_drawn(small_split):
    rows = np.random.default_rng(0).normal(size=(2, small_split.train.n_items, 3))
    model = SimpleNamespace(split=small_split, item_rows=lambda seed: rows[seed])
    popular, others = plot.embeddings(model, seed_index=1).axes[0].get_lines()
    assert len(popular.get_xdata()) == 9 and len(others.get_xdata()) == 36
    best = int(small_split.train.item_counts().argmax())
    assert np.isclose(popular.get_xdata(), plot.projection(rows[1])(rows[1])[best, 0]).any()


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (lambda: plot.losses({}), "no epochs to draw"),
        (lambda: plot.losses(history()[:0]), "no epochs to draw"),
        (lambda: plot.validation(history().drop(columns="validation NDCG@5")), "nothing was measured on validation"),
        (lambda: plot.embeddings(np.ones(5)), r"at least 2 rows .* got shape \(5,\)"),
        (lambda: plot.embeddings(np.full((3, 3), np.nan)), "NaN or infinite"),
        (lambda: plot.popularity({"mf": {"NDCG@5": summary([0.1])}}), "mf has no popularity@K; it has NDCG@5"),
        (lambda: plot.popularity({}), "no models"),
    ],
)
def test_mistakes(draw, said):
    with pytest.raises(UserError, match=said):
        draw()


def test_pictures_are_files_and_show_in_jupyter(tmp_path):
    figure = plot.popularity(board())
    plot.save(figure, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes()[:4] == plot.png(figure)[:4] == figure._repr_png_()[:4] == b"\x89PNG"
    with pytest.raises(UserError, match="cannot write"):
        plot.save(figure, tmp_path / "no" / "a.png")


def test_without_matplotlib(monkeypatch):
    monkeypatch.setattr("gan_rec.plot.canvas.find_spec", lambda name: None)
    assert plot.if_possible(plot.leaderboard, board()) is None
    with pytest.raises(UserError, match=r"pip install 'gan_rec\[plot\]'"):
        plot.leaderboard(board())
