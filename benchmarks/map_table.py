"""What map.py has measured, as Markdown and as a picture."""

from pathlib import Path

import numpy as np

from gan_rec.evaluation.significance import holm


def render(rows: list[dict], figure: Path | None = None) -> str:
    """Markdown of all cells; p-values are corrected over all of them (Holm). With `figure` also a heat map, PNG."""
    cells = [row for row in rows if row["adversary"] != "twin"]
    if not cells:
        return "no cell is finished"
    for name in ("p", "p_users"):
        for cell, value in zip(cells, holm([cell[name] for cell in cells]), strict=True):
            cell[f"{name}_holm"] = value
    found = {(cell["setting"], cell["adversary"]): cell for cell in cells}
    settings, adversaries = (list(dict.fromkeys(cell[axis] for cell in cells)) for axis in ("setting", "adversary"))
    if figure is not None:
        draw(found, settings, adversaries, figure)
    tables = (table(found, settings, adversaries, show) for show in (gain, chances))
    return "\n\n".join((*tables, LEGEND, *cosines(cells)))


LEGEND = """Gain in NDCG@20 on test over the equally tuned twin, paired by split (Coat: by seed), ± half of the 95%
t-interval; in bold where Holm's p is below .05. Second table: p by split / by user (secondary), both after Holm over
the whole map. Splits of one data set share data, so an interval over them is rather too narrow than too wide.
`vector-critic` and `hardness` have twins of their own: squared error, and InfoNCE with matrix factorisation.
`patient-generator`: five steps to each of the recommender's, smaller radii, with or without a warm-up; `small-fgm`: FGM
at radii of .01 and .02. Blank: not measured."""


def cosines(cells: list[dict]) -> list[str]:
    """How far generators go from the gradient, in words; none if there is no generator."""
    found: dict[str, dict[str, list[float]]] = {}
    for cell in cells:
        for side, cosine in (cell["cosine_to_gradient"] or {}).items():
            found.setdefault(cell["adversary"], {}).setdefault(side, []).append(cosine)
    words = [
        f"`{adversary}` " + ", ".join(f"{min(each):.3f} to {max(each):.3f} ({side})" for side, each in sides.items())
        for adversary, sides in found.items()
    ]
    return [f"Cosine of steps to the gradient (1: FGM), over settings: {'; '.join(words)}."] if words else []


def table(found: dict, settings: list[str], adversaries: list[str], show) -> str:
    """A row for each setting, a column for each adversary."""
    lines = [f"| setting | twin | {' | '.join(adversaries)} |", "| --- " * (len(adversaries) + 2) + "|"]
    for setting in settings:
        cells = [found.get((setting, adversary)) for adversary in adversaries]
        twins = [np.mean(cell["twin_values"]) for cell in cells if cell and cell["family"] == "embedding"]
        shown = (show(cell) if cell else "" for cell in cells)
        lines.append(f"| {setting} | {f'{twins[0]:.4f}' if twins else ''} | {' | '.join(shown)} |")
    return "\n".join(lines)


def gain(cell: dict) -> str:
    """Mean and half interval, in bold where it is sure."""
    text = half(cell["difference"])
    return f"**{text}**" if cell["p_holm"] < 0.05 else text


def half(difference: dict) -> str:
    """Mean and half of the interval."""
    mean, interval = difference["mean"], difference["ci95"]
    return f"{mean:+.4f}" + ("" if interval is None else f" ± {interval[1] - mean:.4f}")


def chances(cell: dict) -> str:
    """Corrected p-values."""
    return f"{cell['p_holm']:.2g} / {cell['p_users_holm']:.2g}"


def draw(found: dict, settings: list[str], adversaries: list[str], figure: Path) -> None:
    """Colour: the gain relative to the twin. A star: Holm's p below .05."""
    from matplotlib.figure import Figure

    gains = np.full((len(settings), len(adversaries)), np.nan)
    for (setting, adversary), cell in found.items():
        twin = np.mean(cell["twin_values"])
        gains[settings.index(setting), adversaries.index(adversary)] = (
            100 * cell["difference"]["mean"] / max(twin, 1e-9)
        )
    most = max(1.0, float(np.nanpercentile(np.abs(gains), 90)))
    shape = (1.3 * len(adversaries) + 2.5, 0.5 * len(settings) + 1.8)
    canvas = Figure(figsize=shape, layout="constrained")
    axes = canvas.subplots()
    image = axes.imshow(gains, cmap="RdBu", vmin=-most, vmax=most, aspect="auto")
    for (row, column), value in np.ndenumerate(gains):
        cell = found.get((settings[row], adversaries[column]))
        if cell is not None:
            interval = cell["difference"]["ci95"]
            half = 0.0 if interval is None else (interval[1] - interval[0]) / 2 * 100 / np.mean(cell["twin_values"])
            star = " *" if cell["p_holm"] < 0.05 else ""
            dark = "white" if abs(value) > 0.7 * most else "black"
            axes.text(column, row, f"{value:+.1f} ± {half:.1f}{star}", ha="center", va="center", fontsize=8, color=dark)
    axes.set_xticks(range(len(adversaries)), adversaries, rotation=30, ha="right")
    axes.set_yticks(range(len(settings)), settings)
    canvas.colorbar(image, label="gain, % of the twin")
    axes.set_title("What an adversary adds (± 95%; *: Holm p < .05)", fontsize=10)
    canvas.savefig(figure, dpi=150)
