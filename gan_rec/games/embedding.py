"""The embedding game: an adversary moves user and item representations, the recommender must still rank well."""

from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from gan_rec import losses
from gan_rec.adversaries.ball import Ball
from gan_rec.data.chunks import ChunkedRows
from gan_rec.data.sampling import Positives
from gan_rec.games import batches
from gan_rec.games.batches import AnyBatch, Batch
from gan_rec.games.chunks import ChunkedLoss
from gan_rec.games.joint import Joint, penalty, weight
from gan_rec.games.rows import RowLoss, with_gradient
from gan_rec.recommenders.graph import on_graph

RADII = ("equal", "by-loss")
Number = float | Float[Array, "..."]  # or, while trials are trained side by side, one for each of them


DATA_FIELDS = ["alpha", "epsilon", "beta", "weight"]
META_FIELDS = [
    "loss", "hide", "negatives", "sampling", "reads_history", "profiles", "norm", "radii", "form", "feeding", "shared",
    "reuses", "accumulates", "reads_graph", "chunk", "under_attack",
]  # fmt: skip


@partial(jax.tree_util.register_dataclass, data_fields=DATA_FIELDS, meta_fields=META_FIELDS)
@dataclass(frozen=True)
class EmbeddingGame(Joint):
    """Recommender: min alpha L(u, v) + (1 - alpha) L(u', v'). Adversary: max L(u', v') over what it makes of u and v.

    u and v are user and item representations, u' and v' the adversary's, at most `epsilon` times the row's length
    away; their offset is a constant for the recommender, as in APR (He et al., SIGIR 2018, equation 5).

    Args:
        alpha: weight of the data loss, in [0, 1]. At 1 the adversary neither plays nor costs anything: the twin.
        epsilon: radius of the ball, relative to the length of the row under attack; of an adversary of weights the
            largest KL divergence from the given ones. At 0 it does not play either.
        beta: weight of the adversary's term in the forms named after it.
        weight: alpha as an automatic rule has set it; None leaves it at `alpha`.
        loss: "softmax" (a batch is users), "bpr", "sampled-softmax" or "bce" (a batch is pairs).
        hide: softmax only: chance that an item of the history is hidden from the recommender and so a target.
            A recommender that reads no history has all of it as targets.
        negatives: K, items sampled for each pair; not used by softmax.
        sampling: how, see `gan_rec.data.sampling.sample_negatives`.
        reads_history: whether the recommender is given histories.
        profiles: whether the adversary is given histories.
        norm: of the ball, "l2" or "linf"; see `gan_rec.adversaries.ball.Ball`.
        radii: "equal", or "by-loss": users whom the model fits closely are the vulnerable ones and get a larger
            ball, up to 2 epsilon (Zhang et al., RecSys 2024, whose weight sigmoid((mean loss - loss) / mean loss) is
            doubled here, so that the average user gets epsilon). With softmax item rows, which users share, stay at
            epsilon; with the other losses a user's radius is that of each pair.
        form: how both terms are put together. "alpha" as above. Those of the article (section 4) need "bce":
            "article-alpha": alpha L_data + (1 - alpha) L_adv as printed, L_data of the clean positives alone and
            L_adv of the adversarial negatives alone; "article-beta": cross-entropy + beta times the printed third term
            on adversarial rows, which is unbounded below but for a clip, see `losses.beta_term`; "beta": the
            well-posed reading, adversarial negatives as further negatives with weight beta.
        feeding: "joint": both terms in every step. "alternate", as in the article (section 3.2): an original batch,
            then an adversarial one, by turns; alpha then only says whether the adversary plays.
        shared: one perturbation for each row of the tables, as in APR, rather than for each place where the row
            occurs in the batch.
        reuses: the adversary takes the gradient of the last original batch, which is played again ("free").
        accumulates: the adversary takes the gradients of all batches so far, of which this part is left a batch later;
            0: of this batch alone. Needs `shared`, since only rows of tables are the same rows in the next batch.
        reads_graph: whether the recommender is given the graph of the training pairs.
        chunk: softmax only: how many items of the catalogue have their scores, and what is to be found, in memory at a
            time; 0: all of them. Needs an adversary that reads no histories.
        under_attack: what the adversary moves: "rows" of users and items, or items' "features", which the recommender
            makes rows of (AMR, Tang et al., TKDE 2019, section 3.2, there after the features' first map). Users' rows
            then stay. Needs a recommender with `features(ids)` and `read(features, ids)`.
    """

    alpha: Number = 0.5
    epsilon: Number = 0.1
    beta: Number = 0.5
    weight: Number | None = None
    loss: str = "softmax"
    hide: float = 0.2
    negatives: int = 1
    sampling: str = "uniform"
    reads_history: bool = True
    profiles: bool = False
    norm: str = "l2"
    radii: str = "equal"
    form: str = "alpha"
    feeding: str = "joint"
    shared: bool = False
    reuses: bool = False
    accumulates: float = 0.0
    reads_graph: bool = False
    chunk: int = 0
    under_attack: str = "rows"

    gives_both_gradients = True
    # By form: the loss on clean rows and the loss on adversarial rows; None stands for the game's own.
    parts = {
        "alpha": (None, None),
        "article-alpha": (losses.positives_only, losses.negatives_only),
        "article-beta": (losses.bce, losses.beta_term),
        "beta": (losses.bce, losses.negatives_only),
    }

    @property
    def plays(self) -> Bool[Array, "..."]:
        """Whether the adversary takes part."""
        return super().plays & (jnp.asarray(self.epsilon) > 0)

    @property
    def alternates(self) -> bool:
        """Whether a step is either on original or on adversarial rows."""
        return self.reuses or self.feeding == "alternate"

    @property
    def needs_named_rows_only(self) -> bool:
        """Whether of the recommender's tables a batch needs only the rows that it names."""
        kept = self.accumulates or (self.shared and self.reuses)  # gradients of whole tables
        return not (self.of_users or kept or self.reads_history or self.reads_graph or self.profiles)

    @property
    def fits_chunks(self) -> bool:
        """Whether a batch needs no array of users and all items."""
        return self.of_users and not (self.profiles or self.shared or self.of_features)

    @property
    def of_features(self) -> bool:
        """Whether items' features stand in the place of their rows."""
        return self.under_attack == "features"

    @property
    def of_users(self) -> bool:
        """Softmax takes users, the other losses pairs."""
        return self.loss == "softmax"

    def draw(self, positives: Positives, rows: Int[Array, " B"], key: PRNGKeyArray) -> Batch:
        """The batch of `rows`, numbers below `size`."""
        options = {"reads_history": self.reads_history, "profile": self.profiles}
        if self.of_users:
            users = positives.active[rows]
            batch = batches.draw_users(positives, users, key, hide=self.hide, most=self.chunk, **options)
        else:
            batch = batches.draw_pairs(
                positives, rows, key, negatives=self.negatives, sampling=self.sampling, **options
            )
        return batch._replace(graph=positives if self.reads_graph else None)

    def representations(self, recommender, batch: Batch, key: PRNGKeyArray | None):
        """User rows `[B, D]` and item rows `[I, D]` (softmax) or `[B, 1 + K, D]`; without a key nothing is dropped.

        A game with `shared` rows takes whole tables: `[I, D]`, and `[U, D]` if the recommender reads no history. Under
        attack on features these stand in the place of item rows.
        """
        ids = None if self.shared and batch.history is None else batch.users
        recommender = on_graph(recommender, batch.graph)
        users = recommender.users(ids, batch.history, key)
        look_up = recommender.features if self.of_features else recommender.items
        return users, look_up(None if self.shared else batch.items)

    def loss_of(self, recommender, batch: Batch, rows=None, name=None) -> RowLoss:
        """The data loss (or the one named) as a function of user and item rows, which is what an adversary attacks."""
        make = ChunkedLoss if isinstance(batch.targets, ChunkedRows) else RowLoss
        return make(recommender, batch, name or self.loss, rows, shared=self.shared, features=self.of_features)

    def ball(self, loss, users, items) -> Ball:
        """How far the adversary may go on this batch."""
        ball = self._ball_of_rows(loss, users, items)
        return replace(ball, users=0.0) if self.of_features else ball

    def _ball_of_rows(self, loss, users, items) -> Ball:
        if self.radii == "equal":
            return Ball(self.epsilon, self.epsilon, self.norm)
        losses_by_row = jax.lax.stop_gradient(loss.named(self.loss).by_row(users, items))
        mean = jnp.mean(losses_by_row)
        radius = self.epsilon * 2 * jax.nn.sigmoid((mean - losses_by_row) / jnp.maximum(mean, 1e-6))
        if items.ndim == 3:
            return Ball(radius, radius, self.norm)
        if self.shared and loss.batch.history is None:  # user rows are the whole table
            sums, counts = (
                jnp.zeros(users.shape[0]).at[loss.batch.users].add(x) for x in (radius, jnp.ones_like(radius))
            )
            radius = jnp.where(counts > 0, sums / jnp.maximum(counts, 1), self.epsilon)
        return Ball(radius, self.epsilon, self.norm)

    def scores_with_parameters(self, recommender) -> bool:
        """Whether rows alone do not make the scores, so that the loss on rows has a gradient by the recommender too."""
        return self.of_features or getattr(recommender, "score_has_parameters", False)

    def attack(self, adversary, loss, users, items, key: PRNGKeyArray):
        """The adversary's rows, brought back into the ball wherever it left it.

        A class that says `bounded = True` of itself is taken at its word, which makes an epoch of `mf` a quarter
        shorter; what inherits from it is not.
        """
        ball = self.ball(loss, users, items)
        moved = adversary(loss, users, items, key, ball)
        if vars(type(adversary)).get("bounded", False):
            return moved
        return ball.project(tuple(moved), (users, items))

    def recommender_loss(self, recommender, adversary, batch: AnyBatch, key: PRNGKeyArray):
        """Joint loss to be minimised over the recommender, and its parts.

        Its gradient by the adversary is that of `adversary_loss` at the same key, from the same backward pass: so both
        players can move at once. A game that reuses or accumulates gradients also returns "offsets", which the next
        batch is to carry.
        """
        tower_key, attack_key = jax.random.split(key)
        rows = self.representations(recommender, batch, tower_key)
        terms = _Terms(self, recommender, rows, batch)
        turn = self._one_term if self.alternates else self._both_terms
        total, parts = turn(terms, adversary, attack_key)
        return total + penalty(recommender, batch, tower_key), parts

    def _both_terms(self, terms: "_Terms", adversary, key: PRNGKeyArray):
        """The joint loss of both terms, and its parts."""
        data, data_gradient = terms.data()
        known = self._accumulate(terms.batch, data_gradient[1])
        adversarial, gradient, link = jax.lax.cond(
            self.plays,
            lambda: terms.adversarial(adversary, key, known),
            lambda: (jnp.zeros(()), jax.tree.map(jnp.zeros_like, terms.tree), jnp.zeros(())),
        )
        a, b = self.weights()
        combined = jax.tree.map(lambda x, y: a * x + b * y, data_gradient, gradient)
        parts = {"data_loss": data, "adversarial_loss": adversarial}
        if self.accumulates:
            parts["offsets"] = known
        return with_gradient(a * data + b * adversarial, terms.tree, combined) + link, parts

    def _accumulate(self, batch: AnyBatch, gradient):
        """The gradient at the clean rows, with what is left of the earlier batches' in a game that accumulates."""
        if not self.accumulates:
            return gradient
        users, items = jax.tree.map(lambda old, new: self.accumulates * old + new, batch.offsets, tuple(gradient))
        # Rows that come from histories are other users' in every batch: of these only the items' are the same rows.
        return users if batch.history is None else gradient[0], items

    def _one_term(self, terms: "_Terms", adversary, key: PRNGKeyArray):
        """The loss of one turn; with `reuses`, what the next turn on this batch shall add to the rows."""
        turn = self.plays & (terms.batch.turn == 1)
        value, gradient, link = jax.lax.cond(
            turn, lambda: terms.adversarial(adversary, key), lambda: (*terms.data(), jnp.zeros(()))
        )
        parts = {"data_loss": jnp.where(turn, 0.0, value), "adversarial_loss": jnp.where(turn, value, 0.0)}
        if self.reuses:
            moved = self.ball(terms.loss(None, self.loss), *terms.clean).step(terms.clean, gradient[1])
            parts["offsets"] = jax.tree.map(jnp.subtract, moved, terms.clean)
        return with_gradient(value, terms.tree, gradient) + link, parts

    def weights(self):
        """Of the loss on clean rows and of that on adversarial rows."""
        alpha = weight(self)
        a, b = (alpha, 1 - alpha) if "alpha" in self.form else (1.0, self.beta)
        return jnp.where(self.plays, a, 1.0), jnp.where(self.plays, b, 0.0)

    def adversary_loss(self, adversary, recommender, batch: AnyBatch, key: PRNGKeyArray):
        """Minus the recommender's loss on adversarial rows, to be minimised over the adversary."""
        tower_key, attack_key = jax.random.split(key)
        rows = jax.lax.stop_gradient(self.representations(recommender, batch, tower_key))
        loss = self.loss_of(recommender, batch, rows, self.parts[self.form][1])
        return -loss(*self.attack(adversary, loss, *rows, attack_key))


class _Terms:
    """Both terms of the recommender's loss on a batch, each with its gradient by `tree`.

    The losses are differentiated by the rows, and by the recommender once more only if its score has parameters.
    """

    def __init__(self, game: EmbeddingGame, recommender, rows: tuple, batch: AnyBatch):
        scorer = recommender if game.scores_with_parameters(recommender) else None
        self.game, self.batch, self.tree = game, batch, (scorer, tuple(rows))
        self.recommender, self.clean = jax.lax.stop_gradient((recommender, tuple(rows)))
        self.first, self.second = (name or game.loss for name in game.parts[game.form])

    def loss(self, scorer, name):
        """A loss on this batch, a function of rows; a `scorer` stands in for the constant recommender."""
        model = self.recommender if scorer is None else scorer
        return self.game.loss_of(model, self.batch, self.clean, name)

    def data(self):
        """The loss on clean rows."""
        return jax.value_and_grad(lambda tree: self.loss(tree[0], self.first)(*tree[1]))(
            jax.lax.stop_gradient(self.tree)
        )

    def adversarial(self, adversary, key: PRNGKeyArray, known=None):
        """The loss on adversarial rows with its gradient, and 0 with the gradient of its negative by the adversary.

        `known` is the gradient of the data loss by the clean rows.
        """
        virtual = getattr(adversary, "virtual", False) and self.game.form == "alpha"
        reweighs = getattr(adversary, "reweighs", False)

        def value(tree):
            own = self.loss(tree[0], self.second)
            if reweighs:
                return own.worst_case(*tree[1], self.game.epsilon)
            return own.divergence(*tree[1]) if virtual else own(*tree[1])

        fakes = self.fakes(adversary, key, known)
        loss, gradient = jax.value_and_grad(value)(jax.lax.stop_gradient((self.tree[0], fakes)))
        link = with_gradient(jnp.zeros(()), fakes, jax.tree.map(jnp.negative, gradient[1]))
        return loss, gradient, link

    def fakes(self, adversary, key: PRNGKeyArray, known) -> tuple:
        """Adversarial rows."""
        if self.game.reuses:
            return jax.tree.map(jnp.add, self.clean, self.batch.offsets)
        attacked = self.loss(None, self.second)
        attacked.known_gradient = known if self.first == self.second else None
        return tuple(self.game.attack(adversary, attacked, *self.clean, key))


APR = partial(EmbeddingGame, loss="bpr", shared=True)
"""Adversarial personalised ranking: the embedding game with BPR and one perturbation for each row of the tables.

He et al., SIGIR 2018, equation 7, with lambda = (1 - alpha) / alpha and a radius relative to each row's length rather
than one length for all. With `mf` and `fgm` this is AMF.
"""
