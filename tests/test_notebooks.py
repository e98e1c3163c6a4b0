"""Notebooks run from top to bottom on small data, and are stored with their outputs."""

import ast
import importlib
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
SMALL = """DATASET = "synthetic"
OPTIONS = {"seeds": 2, "epochs": 6, "dim": 16, "evaluate_every": 2}"""
SMALL_TEXTS = """REVIEWS, ROWS, ATTACKED = "womens-clothing", 400, 16
ITEMS, OPTIONS = "ml-100k", {"seeds": 2, "epochs": 3}"""
SMALL_SCENARIOS = (
    'SCENARIOS, OPTIONS = ("friends", "multimodal", "shift"), {"seeds": 2, "epochs": 2, "evaluate_every": 1}'
)


@pytest.mark.long
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, monkeypatch):
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "False")  # they compute more than they compile
    notebook = nbformat.read(path, as_version=4)
    parameters = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    assert len(parameters) == 1
    others = {"04_language": SMALL_TEXTS, "07_scenarios": SMALL_SCENARIOS}
    parameters[0].source = others.get(path.stem, SMALL)
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_stored_with_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    kinds = {kind for output in outputs for kind in output.get("data", {})}
    assert {"image/png", "text/html"} <= kinds
    assert not any(output.output_type == "error" for output in outputs)
    text = path.read_text()
    assert not any(place in text for place in ("site-packages", "/home/", "/root/", "/tmp/")), "a path of some machine"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_imports_what_is_there(path):
    """In the fast lane: a name that moved is seen before the notebook runs again."""
    for cell in nbformat.read(path, as_version=4).cells:
        for line in cell.source.splitlines() if cell.cell_type == "code" else ():
            if line.startswith("from gan_rec"):
                (asked,) = ast.parse(line).body
                module = importlib.import_module(asked.module)
                assert not [name.name for name in asked.names if not hasattr(module, name.name)], line
