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
