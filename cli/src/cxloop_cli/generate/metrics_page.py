"""docs/metrics.md: what each metric says, for whoever has to decide by it."""

from collections.abc import Iterable
from typing import Final

from cxloop_scoring.domain.metrics import BY_NUMBER, CATALOGUE, Direction, Kind, Metric, Plan

PATH: Final = "docs/metrics.md"

_HEAD: Final = """\
# Metrics

Written by `cxloop generate` from the catalogue of the scoring service; do not edit.

Service metrics say how contacts were handled, experience metrics how customers feel, outcome metrics what came of it.
Read them side by side: a team can answer quickly and be rated well, and its customers still leave.

## How to read an answer

`GET /v1/metrics/{name}?window=30d` gives a value and what is needed to judge it.

| Field | Says |
|---|---|
| `value` | the figure, in the unit below; `null` where nothing was counted, never 0 |
| `n` | how many observations stand behind it |
| `ci_low`, `ci_high` | the 95 % interval: where the true figure lies, by chance alone, in 19 of 20 such intervals |
| `status` | `ok`; `low_confidence` below 30; `suppressed` below 5: withheld unless `unsuppress=true` asks for it |
| `formula_version` | changes when the formula does, so that figures of two versions are never compared unawares |

A window is `[from, to)`. Late events, edits, merges and deletions change the past, exactly: `as_of` answers what was
believed at an earlier time, `restatements` lists what has changed it since, and `explain` lists the observations behind
a value. Two figures whose intervals overlap may still differ: ask for the difference with `compare=previous` or
`compare=team:billing`, which gives it an interval of its own; among many groups at once it is corrected for how many
there are (Benjamini and Hochberg 1995).
"""
_KINDS: Final[dict[Kind, str]] = {
    "service": "Service: how contacts are handled",
    "experience": "Experience: how customers feel",
    "outcome": "Outcome: what comes of it",
}
_READ: Final = {
    Plan.OWN: "from its own observations",
    Plan.SHARE_OF: "against the observations of {base}",
    Plan.BALANCE: "from everything before the end of the window",
    Plan.JOINED: "from observations that are joined by customer or case when you ask",
}


def metrics_page() -> str:
    """Write the page."""
    parts = [_HEAD]
    for kind, title in _KINDS.items():
        metrics = [metric for metric in CATALOGUE.values() if metric.kind == kind]
        parts += [f"## {title}\n", _table(metrics), *(_section(metric) for metric in metrics)]
    return "\n".join(parts)


def _table(metrics: Iterable[Metric]) -> str:
    rows = [f"| [{metric.title}](#{metric.name}) | {metric.unit} | {_better(metric)} |" for metric in metrics]
    return "\n".join(["| Metric | Unit | Better |", "|---|---|---|", *rows, ""])


def _better(metric: Metric) -> str:
    return "more" if metric.direction is Direction.HIGHER_IS_BETTER else "less"


def _section(metric: Metric) -> str:
    base = "" if metric.base is None else BY_NUMBER[metric.base].title.lower()
    business = " The same in business hours stands beside it." if metric.business is not None else ""
    return (
        f'### <a id="{metric.name}"></a>{metric.title}\n\n'
        f"`{metric.name}`, version {metric.formula_version}, in {metric.unit}, read "
        f"{_READ[metric.plan].format(base=base)}.{business}\n\n"
        f"> {metric.formula}\n\n"
        f"{metric.explanation}\n"
    )
