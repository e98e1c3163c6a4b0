"""A latent-factor world: ground truth is known, and nothing need be fetched."""

import numpy as np

from gan_rec.data.interactions import Dataset, Interactions


def synthetic(
    n_users: int = 300,
    n_items: int = 200,
    dim: int = 6,
    mean_interactions: int = 24,
    *,
    skew: float = 0.6,
    seed: int = 0,
) -> Dataset:
    """Users and items are Gaussian vectors; who likes what follows their product, with a long tail of popularity.

    Every user draws items without replacement with probability proportional to exp(affinity + popularity), by the
    Gumbel top-k trick (Kool et al., ICML 2019). Ids are text ("u-17", "i-5"); times grow with every interaction.

    Args:
        n_users: U.
        n_items: I.
        dim: size of the hidden vectors.
        mean_interactions: interactions per user, on average; their number is drawn from 1/2 to 3/2 of it.
        skew: standard deviation of an item's log popularity.
        seed: the world is a function of it.
    """
    rng = np.random.default_rng(seed)
    affinity = rng.normal(size=(n_users, dim)) @ rng.normal(size=(n_items, dim)).T * (2 / dim**0.5)
    preference = affinity + skew * rng.normal(size=n_items)
    drawn = np.argsort(-(preference + rng.gumbel(size=(n_users, n_items))), axis=1)
    counts = rng.integers(mean_interactions // 2, mean_interactions * 3 // 2 + 1, n_users).clip(2, n_items - 1)
    chosen = np.arange(n_items) < counts[:, None]
    users, places = np.nonzero(chosen)
    times = rng.permutation(len(users)).astype(np.float64)
    order = np.argsort(times)
    whole = Interactions(
        users=users[order].astype(np.int32),
        items=drawn[users, places][order].astype(np.int32),
        user_ids=np.array([f"u-{u}" for u in range(n_users)], object),
        item_ids=np.array([f"i-{i}" for i in range(n_items)], object),
        times=times[order],
    )
    return Dataset("synthetic", {"all": whole}, notes=(), terms=None, sha256=whole.sha256())
