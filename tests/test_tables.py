"""README.md and benchmarks/results agree."""

import importlib.util
import json
import re
import subprocess
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def script(name: str):
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tables():
    return script("tables")


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


def test_every_link_of_the_readme_leads_somewhere(tables):
    text = tables.README.read_text(encoding="utf-8")
    titles = re.findall(
        r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE), flags=re.MULTILINE
    )
    anchors = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not link.startswith("http")]
    assert len(links) > 15
    for file, _, anchor in (link.partition("#") for link in links):
        assert not file or (tables.README.parent / file).exists(), file
        assert not anchor or anchor in anchors, anchor


def test_numbers(tables):
    assert [tables.decimals(v, 3) for v in (0.5, -0.0504, 1.25, 10.01)] == [".500", "-.050", "1.250", "10.010"]
    assert tables.decimals(0.00157, sign="+") == "+.0016"
    assert tables.with_interval({"mean": 0.25, "ci95": [0.2, 0.3]}) == ".2500 ± .0500"
    assert tables.percent({"mean": 0.25, "ci95": [0.2, 0.3]}) == "25.0% ± 5.0"
    assert tables.markdown(["a", "b"], [["1", ""]]) == ["| a | b |", "| --- | --- |", "| 1 |  |"]


def test_a_finished_run_is_kept(tables, monkeypatch, tmp_path):
    keep = script("keep")
    monkeypatch.setattr(keep, "RESULTS", tmp_path)
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    run = tmp_path / "run"
    run.mkdir()
    (run / "results.json").write_text('{"AUC": 0.5}')
    with pytest.raises(SystemExit, match="has no environment.json"):
        keep.main([str(run), "labels"])
    assert not (tmp_path / "labels.jsonl").exists()
    (run / "environment.json").write_text('{"python": "3"}')
    keep.main([str(run), "labels", "--about", "it"])
    (run / "config.json").write_text('{"dataset": "/some/where/reviews.csv", "seeds": 3}')
    keep.main([str(run), "labels"])
    line = {"results": {"AUC": 0.5}, "environment": {"python": "3"}}
    assert tables.read("labels.jsonl") == [
        {"about": "it"} | line,
        line | {"config": {"dataset": "reviews.csv", "seeds": 3}},
    ]


def test_a_leaderboard_by_hand(tables, monkeypatch, tmp_path):
    def model(mean: float, *seeds: float) -> dict:
        others = {name: {"mean": mean, "ci95": None} for name in ("NDCG@5", "P@5", "R@20", "MRR@20", "coverage@20")}
        return {"total_seconds": 12.4, "test": others | {"NDCG@20": {"mean": mean, "ci95": seeds or None}}}

    against = {"difference": 0.1, "ci95": [0.05, 0.15], "p_holm": 0.02}
    results = {
        "dataset": "made up", "metric": "NDCG@20", "best_baseline": "ease", "best_model": "mf+fgm",
        "models": {"ease": model(0.3), "mf": model(0.2, 0.19, 0.21), "mf+fgm": model(0.4, 0.38, 0.42)},
        "tests": [
            {"model": "mf", "against": "ease"} | against | {"difference": -0.1, "ci95": [-0.15, -0.05], "p_holm": 2e-5},
            {"model": "mf+fgm", "against": "ease"} | against,
            {"model": "mf+fgm", "against": "mf"} | against | {"difference": 0.2, "ci95": [0.18, 0.22]},
        ],
    }  # fmt: skip
    (tmp_path / "leaderboard.jsonl").write_text(json.dumps({"results": results}) + "\n")
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    assert tables.leaderboard("made up")[2:] == [
        f"| `mf+fgm` | .4000 ± .0200 |{' .400 |' * 5} +.1000 ± .0500 (0.02) | +.2000 ± .0200 (0.02) | 12 |",
        "| `ease` | .3000 | .300 | .300 | .300 | .300 | .300 |  |  | 12 |",
        "| `mf` | .2000 ± .0100 | .200 | .200 | .200 | .200 | .200 | -.1000 ± .0500 (2e-5) |  | 12 |",
    ]
    assert tables.ahead("made up")[::2] == [
        "| `mf+fgm` against | `ease` |", "| NDCG@20 | +.1000 ± .0500 (0.02) |"
    ], "its twin is no baseline"  # fmt: skip


def test_a_map_by_hand(tables, monkeypatch, tmp_path):
    def cell(setting: str, adversary: str, gain: float, p: float) -> dict:
        difference = {"mean": gain, "ci95": [gain - 0.002, gain + 0.002]}
        own = {"difference": difference, "p": p, "p_users": p / 2, "twin_values": [0.1, 0.3]}
        own["cosine_to_gradient"] = {"users": 10 * gain, "items": 0.5} if adversary == "fgm" else None
        return {"setting": setting, "adversary": adversary, "family": "embedding"} | own

    rows = [cell("films", "fgm", 0.005, 0.01), cell("films", "free", -0.01, 0.5), cell("music", "fgm", 0.0, 0.03)]
    (tmp_path / "map.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    lines = tables.helps()
    assert lines[2:4] == [
        "| films | 0.2000 | **+0.0050 ± 0.0020** | -0.0100 ± 0.0020 |",
        "| music | 0.2000 | +0.0000 ± 0.0020 |  |",
    ]
    assert lines[7:9] == [
        "| films | 0.2000 | 0.03 / 0.015 | 0.5 / 0.25 |",
        "| music | 0.2000 | 0.06 / 0.03 |  |",
    ], "three tests: .01 x 3, .03 x 2, .5 x 1"
    assert lines[-1].endswith("over settings: `fgm` 0.000 to 0.050 (users), 0.500 to 0.500 (items).")


def test_peers_by_hand(tables):
    def line(seconds: float, **about) -> dict:
        by_program = {"theirs": seconds, "twin": seconds / 4, "adversarial": seconds / 20}
        return about | {"seconds": by_program, "over_theirs": {"twin": 0.25, "adversarial": 0.05}}

    assert tables.speed_tables.peers([line(2.0, peer="a b"), line(0.01, peer="c d", of="update")])[2:] == [
        "| a b, an epoch | 2.000 s | 0.500 s (0.25) | 0.100 s (0.050) |",
        "| c d, an update | 10.00 ms | 2.50 ms (0.25) | 0.50 ms (0.050) |",
    ]


def test_benchmarks_are_run_by_name(monkeypatch, capsys):
    run = script("run")
    started = []

    def start(command):
        started.append(command)
        return subprocess.CompletedProcess(command, returncode=int("top_k.py" in command[1]))

    monkeypatch.setattr(run.subprocess, "run", start)
    with pytest.raises(SystemExit, match="failed: top-k"):
        run.main(["--all", "--smoke", "--output", "lines.jsonl"])
    assert len(started) == len(run.BENCHMARKS)
    for command in started:
        assert Path(command[1]).exists() and "--smoke" in command
        assert ("--output" in command) == ("text_cost.py" not in command[1])
    with pytest.raises(SystemExit) as stop:
        run.main(["speed"])
    assert stop.value.code == 2 and "got speed" in capsys.readouterr().err
