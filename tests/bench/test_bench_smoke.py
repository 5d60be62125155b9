"""The benchmarks run: one short round of scoring, from its own broker and database to a figure."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_a_quick_scoring_benchmark_measures_one_worker_on_a_broker_of_its_own() -> None:
    command = [sys.executable, "-m", "bench", "scoring", "--quick", "--json", "--without-peers"]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=200, check=False
    )

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    (result,) = report["results"]
    figures = {figure["name"]: figure for figure in result["figures"]}
    assert figures["scoring, 1 worker"]["median"] > 0
    assert figures["scoring, 1 worker"]["unit"] == "events/s"
    assert not result["targets"], "without its peer there is no ratio to hold to a target"


def test_quick_benchmarks_of_scale_and_questions_measure_what_their_targets_name() -> None:
    command = [sys.executable, "-m", "bench", "scale", "questions", "--quick", "--json"]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=280, check=False
    )

    assert done.returncode == 0, done.stderr
    scale, questions = json.loads(done.stdout)["results"]
    assert [target["limit"] for target in scale["targets"]] == [1.2]
    assert [target["limit"] for target in questions["targets"]] == [10, 25, 25, 25, 250]
    names = {figure["name"] for result in (scale, questions) for figure in result["figures"]}
    assert names >= {target["figure"] for result in (scale, questions) for target in result["targets"]}
    assert names >= {"stored in all", "write-ahead log of a response"}
