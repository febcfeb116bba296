from __future__ import annotations

import csv
import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import pytest

from dopq.container_handler.bundle import prepare
from dopq.container_handler.container_config import SpecDefaults
from dopq.container_handler.rules import Rules
from dopq.container_handler.template import has_requirement
from tests.bundles import zip_of

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(program: Path, *arguments: str) -> str:
    command = [sys.executable, "-B", "-W", "error", str(program), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def test_iris_learns(tmp_path: Path) -> None:
    log = run(EXAMPLES / "iris" / "train.py", "--output", str(tmp_path))
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["test_accuracy"] > 0.9
    assert metrics["train_flowers"] + metrics["test_flowers"] == 150
    assert sum(map(sum, metrics["confusion"]["counts"])) == metrics["test_flowers"]
    assert metrics["train_loss"] < 0.1
    assert log.count("epoch") == 7
    picture = ET.parse(tmp_path / "iris.svg").getroot()
    assert picture.tag == "{http://www.w3.org/2000/svg}svg"
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.json", "iris.svg"}


def test_iris_gives_the_same_network_for_the_same_seed(tmp_path: Path) -> None:
    for name in ("1", "2"):
        run(EXAMPLES / "iris" / "train.py", "--output", str(tmp_path / name), "--epochs", "4")
    assert (tmp_path / "1" / "iris.svg").read_text() == (tmp_path / "2" / "iris.svg").read_text()


def test_the_iris_data_are_fishers() -> None:
    with (EXAMPLES / "iris" / "iris.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    assert Counter(row[4] for row in rows) == {"setosa": 50, "versicolor": 50, "virginica": 50}
    sums = [round(sum(float(row[column]) for row in rows), 1) for column in range(4)]
    assert sums == [876.5, 458.6, 563.7, 179.9]
    assert rows[34][:4] == ["4.9", "3.1", "1.5", "0.2"]  # these two differ in the copy of the UCI repository
    assert rows[37][:4] == ["4.9", "3.6", "1.4", "0.1"]


def test_the_project_finds_the_change_of_the_nile(tmp_path: Path) -> None:
    project = EXAMPLES / "project-python"
    run(project / "code" / "app.py", "--input", str(project / "input"), "--output", str(tmp_path))
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["last_year_before_the_change"] == 1898
    assert result["p_value"] < 0.001
    assert ET.parse(tmp_path / "nile.svg").getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_the_project_needs_no_package_index() -> None:
    assert not has_requirement((EXAMPLES / "project-python" / "requirements.txt").read_bytes())


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir()))
def test_every_example_passes_the_gate(name: str, tmp_path: Path) -> None:
    files = [path for path in (EXAMPLES / name).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    bundle = zip_of(tmp_path / "b.zip", {str(path.relative_to(EXAMPLES)): path.read_bytes() for path in files})
    rules = Rules(SpecDefaults(gpus=0, max_time_limit_s=3600))
    with bundle.open("rb") as file:
        prepared = prepare(file, tmp_path / "work", bundle_name="b.zip", default_name=name, user="ada", rules=rules)
    assert prepared.spec.name == name
    assert prepared.spec.gpus == 0
    assert (prepared.input is not None) == (EXAMPLES / name / "input").is_dir()
