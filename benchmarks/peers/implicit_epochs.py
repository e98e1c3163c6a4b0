"""Seconds of implicit's BPR epochs. Runs in an environment that has implicit, not gan_rec; see run.py beside it.

python implicit_epochs.py FOLDER bpr EPOCHS     # FOLDER/pairs/pairs.inter; prints JSON
"""

import json
import sys
import time

import numpy as np
from implicit.cpu.bpr import BayesianPersonalizedRanking
from scipy.sparse import csr_matrix


def main(folder: str, name: str, epochs: str) -> None:
    """Train and print."""
    users, items = np.loadtxt(f"{folder}/pairs/pairs.inter", skiprows=1, dtype=np.int64, unpack=True)
    pairs = csr_matrix((np.ones(len(users), np.float32), (users, items)))
    seconds = []
    for n in (1, 1 + int(epochs)):
        model = BayesianPersonalizedRanking(factors=64, iterations=n, num_threads=1, random_state=0)
        start = time.perf_counter()
        model.fit(pairs, show_progress=False)
        seconds.append(time.perf_counter() - start)
    each = (seconds[1] - seconds[0]) / int(epochs)  # without what a fit does once
    print(json.dumps({"model": name, "seconds": [each], "interactions": len(users)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
