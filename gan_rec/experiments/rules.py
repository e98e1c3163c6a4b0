"""Which settings go together."""

from typing import Any

from gan_rec.errors import UserError
from gan_rec.experiments import choices


def check_together(settings: Any) -> None:
    """Raise UserError where two settings that are allowed do not go together.

    Args:
        settings: `Settings`, with its defaults filled in.
    """
    one_term = settings.feeding == "alternate" or settings.adversary == "free"
    played = (settings.game, settings.loss, settings.balance)
    rules = (
        (settings.game == "domain" and settings.balance == "validation", "balance",
         "must be 'fixed' or 'gradient' in game 'domain'"),
        (settings.warm_up >= settings.epochs, "warm_up",
         f"must be less than epochs ({settings.epochs}): the adversary would never join"),
        (settings.form not in (None, "alpha") and settings.loss != "bce", "form",
         "needs loss 'bce'"),
        (one_term and settings.recommender_steps > 1, "recommender_steps",
         "must be 1 with feeding 'alternate' or adversary 'free'"),
        (settings.moves == "simultaneous" and (settings.adversary_steps, settings.recommender_steps) != (1, 1), "moves",
         "needs one step of each player; use 'alternating'"),
        (one_term and settings.balance != "fixed", "balance",
         "must be 'fixed' with feeding 'alternate' or adversary 'free', which have no alpha to set"),
        (settings.adversary == "accumulated" and settings.balance != "fixed", "balance",
         "must be 'fixed' with adversary 'accumulated', whose gradients belong to one alpha"),
        (settings.form in ("article-beta", "beta") and settings.balance != "fixed", "balance",
         "must be 'fixed' with a form that has beta in the place of alpha"),
        (settings.adversary == "free" and settings.feeding == "alternate", "feeding",
         "must be 'joint' with adversary 'free', which alternates by itself"),
        (settings.adversary == "free" and settings.form == "article-alpha", "form",
         "does not go with adversary 'free': the gradient on positives moves no negatives"),
        (settings.adversary == "kl-dro" and settings.form != "alpha", "form",
         "must be 'alpha' with adversary 'kl-dro'"),
        (settings.adversary == "kl-dro" and (settings.norm, settings.radii) != ("l2", "equal"), "adversary",
         "moves no rows: it takes norm 'l2' and radii 'equal', which then say nothing"),
        (settings.game == "irgan" and settings.critic_loss == "wasserstein", "critic_loss",
         "needs game 'cfgan': items are discrete, there is no gradient to penalise"),
        (settings.game == "text" and settings.dim is not None, "dim",
         "is the language model's in game 'text'"),
        (settings.trainable is not None and settings.adversary in choices.OF_SENTENCES, "adversary",
         "moves sentence vectors: it needs recommender 'text-classifier'"),
        (settings.trainable is not None and settings.norm == "linf", "norm",
         "needs recommender 'text-classifier': padding has entries too"),
        (settings.table_updates in choices.OF_ROWS and settings.recommender != "mf", "table_updates",
         "needs recommender 'mf', which has tables of ids alone"),
        (settings.table_updates in choices.OF_ROWS and (settings.accumulate > 1 or settings.balance != "fixed"),
         "table_updates",
         "needs accumulate 1 and balance 'fixed'"),
        (settings.softmax_scores == "chunks" and played != ("embedding", "softmax", "fixed"), "softmax_scores",
         "needs game 'embedding', loss 'softmax' and balance 'fixed'"),
        (settings.balance == "validation" and settings.side == "item", "balance",
         "needs side 'user'"),
        (settings.balance == "validation" and settings.recommender == "mix", "balance",
         "needs another recommender than 'mix', one of whose parts plays on side 'item'"),
        (settings.side == "item" and settings.recommender == "mix", "side",
         "needs another recommender than 'mix', which has both sides"),
        (settings.side == "item" and settings.length is not None, "side",
         f"needs a recommender that does not read sequences, not {settings.recommender!r}"),
        (settings.length is not None and settings.form not in (None, "alpha"), "form",
         f"must be 'alpha' with recommender {settings.recommender!r}"),
        (settings.length is not None and settings.balance == "validation", "balance",
         f"needs a recommender that does not read sequences, not {settings.recommender!r}"),
        (settings.length is not None and settings.softmax_scores == "chunks", "softmax_scores",
         f"says nothing of recommender {settings.recommender!r}, which takes some positions at a time"),
        (settings.heads is not None and settings.dim % settings.heads > 0, "heads",
         f"must divide dim ({settings.dim})"),
        (settings.side == "item" and settings.layers is not None, "side",
         f"needs another recommender than {settings.recommender!r}, whose graph has both sides"),
        (settings.under_attack == "features" and settings.recommender not in choices.WITH_FEATURES, "under_attack",
         f"needs recommender {', '.join(choices.WITH_FEATURES)}, got {settings.recommender!r}"),
        (settings.under_attack == "features" and settings.adversary not in choices.ON_FEATURES, "under_attack",
         f"needs adversary {', '.join(choices.ON_FEATURES)}, got {settings.adversary!r}"),
        (settings.under_attack == "features" and settings.softmax_scores == "chunks", "softmax_scores",
         "needs under_attack 'rows'"),
        (settings.side == "item" and settings.fusion is not None, "side",
         "needs another recommender than 'multimodal', which knows items by their features"),
        (settings.side == "item" and settings.components is not None, "side",
         f"needs a recommender that does not read texts of items, not {settings.recommender!r}"),
        (settings.side == "item" and settings.game == "embedding" and settings.loss != "softmax", "side",
         "needs loss 'softmax' in game 'embedding'"),
        (settings.recommender == "mix" and settings.loss != "softmax", "loss",
         "must be 'softmax' with recommender 'mix'"),
        (settings.recommender == "mix" and settings.warm_up > 0, "warm_up",
         "must be 0 with recommender 'mix', whose parts are trained apart"),
        (settings.balance == "validation" and settings.game in choices.OF_LABELS.values(), "balance",
         "needs a game that ranks items"),
        (settings.trainable is not None and choices.is_own(settings.adversary), "adversary",
         "cannot be your own with recommender 'tuned-text-classifier', whose rows have no fixed size"),
    )  # fmt: skip
    for broken, name, rule in rules:
        if broken:
            raise UserError(f"{name} {getattr(settings, name)!r} {rule}")
