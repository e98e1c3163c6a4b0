"""CoLLM's split of MovieLens 1M: will a user like a film? AUC and UAUC, adversary and twin, beside the two averages.

    GAN_REC_DATA=FOLDER python benchmarks/collm.py --seeds 5 [--smoke]

Titles come with the split, genres from `ml-1m-text/movies.dat` below GAN_REC_DATA, by title. Twice: trained on train
alone, as the papers on this split do, and refitted on train + validation. Adds lines to benchmarks/results/collm.jsonl.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path

import pandas as pd

from gan_rec.errors import UserError
from gan_rec.experiments.label_run import train_labels
from gan_rec.experiments.label_tables import labels_table
from gan_rec.experiments.settings import DataOptions, Settings, TextOptions
from gan_rec.experiments.tables import print_table

RESULTS = Path(__file__).parent / "results" / "collm.jsonl"


def texts(folder: Path, file: Path) -> None:
    """Write the titles and genres of the films."""
    items = pd.read_csv(folder / "collm-ml-1m" / "items.csv")
    lines = (folder / "ml-1m-text" / "movies.dat").read_text(encoding="latin-1").splitlines()
    genres = {title: names.replace("|", ", ") for _, title, names in (line.split("::") for line in lines)}
    items["genres"] = items["title"].map(genres).fillna("")
    items.to_csv(file, index=False)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--smoke", action="store_true", help="two epochs, one seed, nothing written")
    options = parser.parse_args()
    data = Path(os.environ.get("GAN_REC_DATA", ""))
    missing = [name for name in ("collm-ml-1m", "ml-1m-text") if not (data / name).exists()]
    if missing:
        raise SystemExit(f"GAN_REC_DATA must name a folder with {' and '.join(missing)}, it is {str(data)!r}")
    how = {"seeds": 1, "epochs": 2} if options.smoke else {"seeds": options.seeds}
    with tempfile.TemporaryDirectory() as scratch:
        texts(data, Path(scratch) / "items.csv")
        for refit in (False, True):
            where = DataOptions(dataset="collm-ml-1m", item_text=str(Path(scratch) / "items.csv"))
            out = Path(scratch) / f"refit-{refit}"
            results = train_labels("ratings", where, Settings(refit=refit, **how), TextOptions(), out)
            print("refitted on train + validation" if refit else "trained on train alone")
            print_table(labels_table(results))
            if not options.smoke:
                made_with = json.loads((out / "environment.json").read_text(encoding="utf-8"))
                RESULTS.parent.mkdir(exist_ok=True)
                with open(RESULTS, "a", encoding="utf-8") as file:
                    file.write(json.dumps({"refit": refit, "results": results, "environment": made_with}) + "\n")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise SystemExit(str(error)) from error
