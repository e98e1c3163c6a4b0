"""README.md and benchmarks/results agree."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

FILE = Path(__file__).parent.parent / "benchmarks" / "tables.py"


@pytest.fixture
def tables():
    spec = importlib.util.spec_from_file_location("tables", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_readme_shows_what_was_measured(tables):
    tables.main(["--check"])


def test_a_changed_number_is_found_and_mended(tables, monkeypatch, tmp_path):
    before = tables.README.read_text()
    wrong = re.sub(r"(\| `fgsm` \| \.)\d", r"\g<1>0", before)
    assert wrong != before
    monkeypatch.setattr(tables, "README", tmp_path / "README.md")
    tables.README.write_text(wrong)
    with pytest.raises(SystemExit, match="not what benchmarks/results has: adversaries; run"):
        tables.main(["--check"])
    assert tables.README.read_text() == wrong, "a check writes nothing"
    tables.main([])
    assert tables.README.read_text() == before


def test_a_changed_line_of_the_files_is_found(tables, monkeypatch, tmp_path):
    for file in tables.RESULTS.glob("*.jsonl"):
        (tmp_path / file.name).write_text(file.read_text())
    lines = tables.read("alpha.jsonl")
    lines[0]["test"]["mean"] += 1e-4
    (tmp_path / "alpha.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    with pytest.raises(SystemExit, match="has: alpha; run"):
        tables.main(["--check"])


def test_every_table_has_its_place(tables):
    text = tables.README.read_text()
    for wrong in (text.replace("<!-- table: alpha -->", ""), text + "<!-- table: beta -->\n<!-- end -->"):
        with pytest.raises(SystemExit, match="must have a place for each of"):
            tables.rendered(wrong)


def test_numbers(tables):
    assert [tables.decimals(v, 3) for v in (0.5, -0.0504, 1.25, 10.01)] == [".500", "-.050", "1.250", "10.010"]
    assert tables.decimals(0.00157, sign="+") == "+.0016"
    assert tables.with_interval({"mean": 0.25, "ci95": [0.2, 0.3]}) == ".2500 ± .0500"
    assert tables.percent({"mean": 0.25, "ci95": [0.2, 0.3]}) == "25.0% ± 5.0"
    assert tables.markdown(["a", "b"], [["1", ""]]) == ["| a | b |", "| --- | --- |", "| 1 |  |"]
