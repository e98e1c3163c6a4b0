"""The tracker tensorboard: event files in `tensorboard/`, a folder for each model, so that these share charts."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from tensorboardX import summary
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

from gan_rec.files import write_text
from gan_rec.train.event_files import EventFile, forget
from gan_rec.train.tracking import Tracker

_MOST_ROWS = 10_000  # that the projector is given
_BINS = 40


class TensorBoard(Tracker):
    """Writes scalars, histograms, the configuration (text, hyper-parameters) and item rows for the projector."""

    def __init__(self, directory: Path):
        self.folder = Path(directory) / "tensorboard"
        self._files: dict[str, EventFile] = {}
        self._config: dict[str, Any] = {}

    def begin(self, config: dict[str, Any], resumed: bool) -> None:
        """See `Tracker.begin`."""
        self._config = config
        forget(self.folder, lambda tag, step: tag.startswith("config/"))
        text = json.dumps(config, indent=1)
        self._file("").add(0, summary.text("config", "".join(f"    {line}\n" for line in text.splitlines())))

    def rewind(self, model: str, phase: str, epoch: int, told: int) -> None:
        """See `Tracker.rewind`."""
        if model not in self._files:  # which hold nothing of earlier sessions
            forget(self._folder(model), lambda tag, step: tag.startswith(f"{phase}/") and step > epoch)

    def scalars(self, model: str, phase: str, epoch: int, values: dict[int, dict[str, float]]) -> None:
        """See `Tracker.scalars`."""
        found = [
            summary.scalar(f"{phase}/{_tag(name)}/seed_{seed}", value)
            for seed, own in values.items()
            for name, value in own.items()
        ]
        self._file(model).add(epoch, *found)

    def histogram(self, model: str, phase: str, epoch: int, name: str, values: Float[np.ndarray, " n"]) -> None:
        """See `Tracker.histogram`."""
        if np.isfinite(values).all() and values.size:
            self._file(model).add(epoch, summary.histogram(f"{phase}/{_tag(name)}", values, _BINS))

    def embedding(self, model: str, rows: Float[np.ndarray, "I D"], labels: Sequence[str]) -> None:
        """See `Tracker.embedding`; at most 10,000 rows, evenly chosen."""
        folder, step = self._folder(model) / "items", -(-len(rows) // _MOST_ROWS)
        folder.mkdir(parents=True, exist_ok=True)
        lines = ("\t".join(f"{x:.6g}" for x in row) + "\n" for row in rows[::step].tolist())
        write_text(folder / "tensors.tsv", "".join(lines))
        write_text(folder / "metadata.tsv", "".join(" ".join(label.split()) + "\n" for label in labels[::step]))
        config = 'embeddings {\n  tensor_name: "items"\n  tensor_path: "items/tensors.tsv"\n'
        write_text(
            self._folder(model) / "projector_config.pbtxt", config + '  metadata_path: "items/metadata.tsv"\n}\n'
        )

    def finish(self, results: dict[str, Any]) -> None:
        """See `Tracker.finish`: test metrics beside the hyper-parameters that they came of."""
        given = {name: x for name, x in self._config.items() if isinstance(x, bool | int | float | str)}
        for model, metrics in results["models"].items():
            means = {f"test/{_tag(name)}": x["mean"] for name, x in metrics.items() if x["mean"] is not None}
            forget(self._folder(model), lambda tag, step: tag.startswith(("test/", "_hparams_/")))
            scalars = [summary.scalar(name, value) for name, value in means.items()]
            self._file(model).add(0, *_hyper_parameters(given | {"model": model}, means), *scalars)

    def close(self, failed: bool) -> None:
        """See `Tracker.close`."""
        for file in self._files.values():
            file.close()

    def _folder(self, model: str) -> Path:
        return self.folder / model.replace(" ", "_")

    def _file(self, model: str) -> EventFile:
        if model not in self._files:
            self._files[model] = EventFile(self._folder(model) if model else self.folder)
        return self._files[model]


def _hyper_parameters(values: dict[str, Any], metrics: dict[str, float]) -> list:
    """Summaries of them; those that are no numbers say what they may be, else TensorBoard cannot sort them."""
    experiment, *others = summary.hparams(values, metrics)
    data = experiment.value[0].metadata.plugin_data
    content = HParamsPluginData.FromString(data.content)
    for info in content.experiment.hparam_infos:
        value = values[info.name]
        if isinstance(value, bool | str):
            kind = "bool_value" if isinstance(value, bool) else "string_value"
            setattr(info.domain_discrete.values.add(), kind, value)
    data.content = content.SerializeToString()
    return [experiment, *others]


def _tag(name: str) -> str:
    return name.replace("@", "_at_").replace(" ", "_")
