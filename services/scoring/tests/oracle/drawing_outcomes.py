"""What journey and alerting say, drawn with versions that no time need follow."""

from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from cxloop_common.events import AlertRecord, IdentifierVersion, JourneyChange, JourneyChanged

from .drawing import RESPONSES, START, WHOLE_TIMES, Draw, Names

CASES = ("k1", "k2")


@st.composite
def journeys(draw: Draw, names: Names) -> list[JourneyChanged]:
    """Draw what journey says of the identifiers: one sequence of versions over all customers."""
    said = draw(
        st.lists(
            st.tuples(
                st.sampled_from(names.customers),
                st.lists(st.sampled_from(names.identifiers), max_size=3, unique=True),
            ),
            max_size=4,
        )
    )
    records: list[JourneyChanged] = []
    for version, (customer, identifiers) in enumerate(said, start=1):
        merged = None if identifiers else next(other for other in names.customers if other != customer)
        records.append(
            JourneyChanged(
                id=f"journey-{names.name}-{version}",
                source="cxloop-journey",
                time=START + timedelta(minutes=version),
                customer_id=customer,
                version=version,
                change=JourneyChange.MERGED if merged else JourneyChange.LINKED,
                merged_into=merged,
                identifiers=tuple(IdentifierVersion(id=text, version=version) for text in identifiers),
            )
        )
    return records


@st.composite
def alerts(draw: Draw, names: Names) -> list[AlertRecord]:
    """Draw cases; a version's time need not follow the one before it."""
    records: list[AlertRecord] = []
    for case in CASES:
        opened = draw(WHOLE_TIMES)
        later = draw(st.lists(WHOLE_TIMES, max_size=3)) if draw(st.booleans()) else None
        times = [] if later is None else [opened, *later]
        records += [
            draw(_alert(names, f"{case}-{version}", at, opened)) for version, at in enumerate(times, start=1)
        ]
    if records and draw(st.integers(0, 19)) == 19:
        # Something else under the id of one of them.
        record = draw(st.sampled_from(records))
        said = draw(
            _alert(names, record.id.removeprefix(f"alert-{names.name}-"), draw(WHOLE_TIMES), record.at)
        )
        records.append(said)
    return records


@st.composite
def _alert(draw: Draw, names: Names, record: str, at: datetime, opened: datetime) -> AlertRecord:
    case, _, version = record.partition("-")
    documents = [f"response:{names.sources[0]}:{response.replace(' ', '%20')}" for response in RESPONSES]
    shown = draw(st.sampled_from((None, *documents, *documents)))
    status = draw(
        st.sampled_from(
            ("open", "open", "contacted", "resolved", "resolved", "recovered", "reopened", "unverified")
        )
    )
    change = {"open": "opened", "contacted": "contacted", "resolved": "resolved", "reopened": "reopened"}
    due = draw(st.sampled_from((None, 30, 3 * 1440, 7 * 1440, 40 * 1440)))
    kind, owner = draw(st.sampled_from((("team", "billing"), ("person", "mia"), ("rota", "night"))))
    score: Any = shown and {
        "metric": "nps",
        "value": 1,
        "scale": {"min": 0, "max": 10},
        "document": shown,
    }
    superseded = draw(st.sampled_from(((),) * 5 + (tuple(c for c in CASES if c != case),)))
    return AlertRecord(
        id=f"alert-{names.name}-{record}",
        source="cxloop-alerting",
        time=at,
        case_id=f"{names.name}-{case}",
        version=int(version),
        supersedes=tuple(f"{names.name}-{other}" for other in superseded),
        change=draw(st.sampled_from((change.get(status, "updated"), "updated", "contacted"))),
        at=at,
        status=status,
        severity=draw(st.sampled_from(("low", "high"))),
        rule="low-score",
        route=names.name,
        owner={"kind": kind, "id": owner, "name": owner},  # type: ignore[arg-type]
        score=score,
        documents=tuple(draw(st.lists(st.sampled_from(documents), max_size=2))),
        reason="a low score",
        due_at=None if due is None else opened + timedelta(minutes=due),
    )
