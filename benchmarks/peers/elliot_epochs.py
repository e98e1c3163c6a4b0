"""Seconds of the epochs of Elliot's AMF. Runs in an environment that has tensorflow, not gan_rec; see run.py beside it.

python elliot_epochs.py FOLDER AMF EPOCHS CHECKOUT     # FOLDER/pairs/pairs.inter, Elliot's repository; prints JSON
"""

import json
import sys
import time
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType

import numpy as np


def main(folder: str, name: str, epochs: str, checkout: str) -> None:
    """Train and print; the first epoch, in which things are set up, is left out."""
    model = module(f"{checkout}/elliot/recommender/adversarial/{name}/{name}_model.py")
    sampler = module(f"{checkout}/elliot/dataset/samplers/custom_sampler.py")
    users, items = np.loadtxt(f"{folder}/pairs/pairs.inter", skiprows=1, dtype=np.int64, unpack=True)
    ratings = {}
    for user, item in zip(users.tolist(), items.tolist(), strict=True):
        ratings.setdefault(user, {})[item] = 1.0
    draw = sampler.Sampler(ratings)
    game = model.AMF_model(
        factors=64, learning_rate=0.001, l_w=0.1, l_b=0.001, eps=0.1, l_adv=0.001,
        num_users=int(users.max()) + 1, num_items=int(items.max()) + 1,
    )  # fmt: skip
    seconds = []
    for _ in range(int(epochs) + 1):
        start, loss = time.perf_counter(), 0
        for batch in draw.step(len(users), 1024):
            loss += game.train_step(batch, user_adv_train=True)
        float(loss)
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"model": name, "seconds": seconds[1:], "interactions": len(users)}))


def module(path: str) -> ModuleType:
    """A file as a module: importing the package would load every model, and all that they need."""
    spec = spec_from_file_location("elliot_file", path)
    made = module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


if __name__ == "__main__":
    main(*sys.argv[1:])
