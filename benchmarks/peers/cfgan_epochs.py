"""Seconds of the epochs of CFGAN by its authors. Runs in an environment that has tensorflow, not gan_rec; see run.py.

python cfgan_epochs.py FOLDER CFGAN EPOCHS CHECKOUT     # FOLDER/pairs/pairs.inter, their repository; prints JSON

An epoch is their outer one: two passes of the discriminator over all items and four of the generator, with the negative
items drawn for both. Their function trains; only what it calls to evaluate after each pass is left out.
"""

import contextlib
import io
import json
import sys
import time
from collections import defaultdict

import numpy as np
import tensorflow.compat.v1 as tf

tf.disable_v2_behavior()
sys.modules["tensorflow"] = tf  # the name that code for TensorFlow 1 imports


class Session(tf.Session):
    """Counts updates, and scores nothing."""

    updates = 0
    scores: np.ndarray

    def run(self, fetches, feed_dict=None):
        """What is fetched; a list begins with an optimiser's step, all else that is fed is evaluation."""
        if isinstance(fetches, list):
            Session.updates += 1
        elif feed_dict is not None:
            return Session.scores if isinstance(fetches, tf.Tensor) else (None, None)
        return super().run(fetches, feed_dict)


def main(folder: str, name: str, epochs: str, checkout: str) -> None:
    """Train and print; the first epoch, in which things are set up, is left out."""
    sys.path.insert(0, checkout)
    import data
    import evaluation
    import parameters
    import trainer

    passes = []  # when each pass of the generator ended

    def no_accuracy(*_):
        passes.append(time.perf_counter())
        return [0.0], [0.0], [0.0], [0.0]

    tf.Session, evaluation.computeTopNAccuracy = Session, no_accuracy
    users, items = np.loadtxt(f"{folder}/pairs/pairs.inter", skiprows=1, dtype=np.int64, unpack=True)
    n_users, n_items = int(users.max()) + 1, int(items.max()) + 1
    histories = defaultdict(list)
    for user, item in zip(users.tolist(), items.tolist(), strict=True):
        histories[user].append(item)
    chosen = parameters.getHyperParams("ML100K")
    chosen |= {"epochs": (int(epochs) + 1) * chosen["step_G"], "batchSize_D": chosen["batchSize_G"]}
    with contextlib.redirect_stdout(io.StringIO()):
        vectors, test_mask, count = data.to_Vectors(histories, n_users, n_items, [0], chosen["mode"])
        unobserved = [list(np.flatnonzero(vector == 0)) for vector in vectors]  # lists, as in their cfgan.py
        Session.scores = np.zeros((n_items, n_users))
        trainer.trainCFGAN(
            n_users, n_items, count, vectors, vectors, test_mask, [0], [1], unobserved, [[]], chosen, chosen["mode"],
            False,
        )  # fmt: skip
    ends = passes[chosen["step_G"] - 1 :: chosen["step_G"]]
    told = {"seconds": np.diff(ends).tolist(), "updates": Session.updates // len(ends)}
    print(json.dumps({"model": name, **told, "interactions": len(users)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
