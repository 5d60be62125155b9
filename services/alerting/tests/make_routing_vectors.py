"""Write routing_vectors.json again: random trees and labels, answered by Alertmanager's own tool.

    python make_routing_vectors.py --amtool /usr/bin/amtool

Run by hand when the generator changes; the tests read the file and need no amtool. Where amtool is installed,
`test_routing.py` also asks it about trees that nobody has seen before.
"""

import argparse
import json
import random
import subprocess
import tempfile
from pathlib import Path
from typing import Any

VECTORS = Path(__file__).parent / "routing_vectors.json"
NAMES = ("band", "team", "stage", "tier")
VALUES = (
    "",
    "a",
    "b",
    "ab",
    "ba",
    "aab",
    "1",
    "10",
    "x y",
    "a,b",
    "Zoë",
    'q"t',
    "a\\b",
    "a\nb",
    "A",
    "é",
    "٣",
    "\u017f",
)
PATTERNS = (
    *("", "a", "a|b", "a.*", ".*b", ".+", "a?b", "(a|b)+", "[ab]{2}", "1|10", "^a$", "a$|b", "Zo.", "x y"),
    *(
        r"a\\b",
        "(?i)a",
        "[^a]*",
        r"\d+",
        r"\w+",
        'q"t',
        "(?s)a.b",
        "a.b",
        r"a\s?",
        "(?i)S",
        r"\w",
        "(a|ab)(c|b)?",
    ),
)
Labels = dict[str, str]


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def random_matcher(rng: random.Random) -> str:
    operator = rng.choice(("=", "!=", "=~", "!~"))
    value = rng.choice(PATTERNS if "~" in operator else VALUES)
    return f"{rng.choice(NAMES)}{operator}{quoted(value)}"


def random_route(rng: random.Random, depth: int = 0) -> dict[str, Any]:
    """A route in our form; some name nobody and take the name above, some share one."""
    route: dict[str, Any] = {}
    if depth == 0 or rng.random() < 0.7:
        route["name"] = f"r{rng.randrange(12)}"
    if depth > 0:
        route["match"] = [random_matcher(rng) for _ in range(rng.choice((1, 1, 1, 2, 3)))]
        if rng.random() < 0.4:
            route["continue"] = True
    if depth < 4 and (width := rng.choice((2, 3, 4) if depth == 0 else (0, 0, 1, 2, 3))):
        route["routes"] = [random_route(rng, depth + 1) for _ in range(width)]
    return route


def random_labels(rng: random.Random) -> Labels:
    return {name: rng.choice(VALUES) for name in NAMES if rng.random() < 0.7}


def as_alertmanager(route: dict[str, Any]) -> dict[str, Any]:
    names = {"name": "receiver", "match": "matchers", "continue": "continue"}
    shown = {names[key]: value for key, value in route.items() if key in names}
    if "routes" in route:
        shown["routes"] = [as_alertmanager(child) for child in route["routes"]]
    return shown


def ask(amtool: str, route: dict[str, Any], labels: Labels) -> list[str]:
    """Names of the routes that answer, as amtool sees it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "alertmanager.json"
        receivers = [{"name": f"r{number}"} for number in range(12)]
        configuration = {"route": as_alertmanager(route), "receivers": receivers}
        file.write_text(json.dumps(configuration, ensure_ascii=False), encoding="utf-8")
        answer = subprocess.run(  # noqa: S603  # the tool that was asked for by name
            [amtool, "config", "routes", "test", f"--config.file={file}"]
            + [f"{name}={quoted(value)}" for name, value in labels.items()],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
    return answer.stdout.splitlines()[-1].split(",")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--amtool", default="amtool")
    parser.add_argument("--trees", type=int, default=120)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = random.Random(options.seed)  # noqa: S311  # repeatable on purpose
    vectors: list[dict[str, Any]] = []
    while len(vectors) < options.trees:
        tree = random_route(rng)
        examples: list[dict[str, Any]] = []
        for _ in range(5):
            labels = random_labels(rng)
            examples.append({"labels": labels, "answers": ask(options.amtool, tree, labels)})
        vectors.append({"route": tree, "examples": examples})
    lines = ",\n".join(json.dumps(vector, ensure_ascii=False, separators=(",", ":")) for vector in vectors)
    VECTORS.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
