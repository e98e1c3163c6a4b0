"""Seconds of RecBole's training epochs. Runs in an environment that has recbole, not gan_rec; see run.py beside it.

python recbole_epochs.py FOLDER MODEL EPOCHS     # FOLDER/pairs/pairs.inter; prints JSON
"""

import json
import logging
import sys
import tempfile
import time

import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_trainer, init_seed

torch.set_num_threads(1)


def main(folder: str, name: str, epochs: str) -> None:
    """Train and print; the first epoch, in which things are set up, is left out."""
    settings = {
        "data_path": folder, "checkpoint_dir": tempfile.mkdtemp(), "use_gpu": False, "show_progress": False,
        "load_col": {"inter": ["user_id", "item_id"]}, "embedding_size": 64, "train_batch_size": 1024, "n_layers": 2,
        "eval_args": {"split": {"RS": [0.998, 0.001, 0.001]}, "order": "RO", "group_by": "none", "mode": "full"},
        "mlp_hidden_size": [600], "latent_dimension": 64, "state": "ERROR", "learning_rate": 0.001,
    }  # fmt: skip
    if name == "MultiVAE":
        settings["train_neg_sample_args"] = None
    sys.argv = sys.argv[:1]  # RecBole reads the command line too
    config = Config(model=name, dataset="pairs", config_dict=settings)
    init_seed(config["seed"], config["reproducibility"])
    logging.disable(logging.CRITICAL)
    train, _, _ = data_preparation(config, create_dataset(config))
    model = get_model(name)(config, train.dataset)
    trainer = get_trainer(config["MODEL_TYPE"], name)(config, model)
    seconds = []
    for epoch in range(int(epochs) + 1):
        start = time.perf_counter()
        trainer._train_epoch(train, epoch, show_progress=False)
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"model": name, "seconds": seconds[1:], "interactions": len(train.dataset)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
