"""Scores: the record that says how one response was scored, as `cxloop.scores.v1` carries it."""

from typing import Final, NamedTuple

import msgspec

from cxloop_common.events import ScoreLink, ScoreRecorded
from cxloop_common.identifiers import derive_id
from cxloop_scoring.domain.dimensions import TAG
from cxloop_scoring.domain.documents import linked, source_of
from cxloop_scoring.domain.facts import Fact, Facts, Tombstone, event_ids
from cxloop_scoring.domain.instants import rfc3339_of
from cxloop_scoring.domain.responses import Response

_JSON: Final = b"application/json"
_BANDS: Final = ("low", "middle", "high")
_encode = msgspec.json.Encoder().encode
_SPEC: Final = ("ce_specversion", b"1.0")
_SCORE: Final = ("ce_type", ScoreRecorded.TYPE.encode())
_LINK: Final = ("ce_type", ScoreLink.TYPE.encode())
_CONTENT: Final = ("content-type", _JSON)


class Encoded(NamedTuple):
    """A record ready to be written: key, value and binary-mode headers."""

    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


def revision_id(document: str, facts: Facts, generation: int) -> str:
    """Derive the id of a revision from the document, the sorted set of its facts' keys and the generation.

    The same facts booked by other formulas or another configuration are another record.
    """
    return derive_id(document, str(generation), *sorted(facts))


class _Scale(msgspec.Struct, omit_defaults=True):
    max: float
    min: float
    polarity: str
    good: tuple[float, ...] | None = None


class _Score(msgspec.Struct, omit_defaults=True, rename={"limits": "scale"}):
    """The data of a `ScoreRecorded`; None is left out, as the models leave it out."""

    band: str
    dimensions: dict[str, str]
    document: str
    event_ids: tuple[str, ...]
    event_time: str
    identifiers: tuple[str, ...]
    metric: str
    normalised: int
    raw: float
    revision: tuple[int, int]
    limits: _Scale
    tags: tuple[str, ...]
    customer_hint: str | None = None
    ticket: str | None = None
    wants_contact: bool | None = None


def score_of(document: str, facts: Facts, response: Response, generation: int) -> Encoded:
    """Encode the score of a response: a `ScoreRecorded`, at a tenth of the models' cost."""
    answer = response.answer
    instant = rfc3339_of(answer.at)
    key = document.encode()
    dimensions = response.dimensions
    score = _Score(
        band=_BANDS[response.band],
        dimensions=dimensions.named(),
        document=document,
        event_ids=event_ids(facts),
        event_time=instant,
        identifiers=response.identifiers,
        metric=answer.metric,
        normalised=response.normalised,
        raw=answer.score,
        revision=(generation, len(facts)),
        limits=_Scale(
            answer.most,
            answer.least,
            "lower_is_better" if answer.lower_is_better else "higher_is_better",
            answer.good,
        ),
        tags=tuple(value for name, value in dimensions.more if name == TAG) if dimensions.more else (),
        customer_hint=response.customer.hint,
        ticket=response.ticket,
        wants_contact=answer.wants_contact,
    )
    return Encoded(
        key,
        _encode(score),
        (
            _SPEC,
            ("ce_id", revision_id(document, facts, generation).encode()),
            _SCORE,
            ("ce_source", source_of(document).encode()),
            ("ce_time", instant.encode()),
            _CONTENT,
            ("ce_subject", key),
        ),
    )


def link_of(origin: str, survivor: str, event_id: str, fact: Fact) -> Encoded:
    """Encode a fact of a merged ticket for the document that survives it."""
    passed = linked(fact)
    tombstone = isinstance(passed, Tombstone)
    author = 0 if isinstance(passed, Tombstone) else passed.author
    data = {
        "document": survivor,
        "origin": origin,
        "fact": {
            "event_id": event_id,
            "at": passed.at,
            "digest": passed.digest.hex(),
            "author": author,
            "tombstone": tombstone,
        },
    }
    identity = derive_id(
        "link", survivor, event_id, str(passed.at), passed.digest, str(author), str(tombstone)
    )
    key = survivor.encode()
    return Encoded(
        key,
        _encode(data),
        (
            _SPEC,
            ("ce_id", identity.encode()),
            _LINK,
            ("ce_source", source_of(survivor).encode()),
            ("ce_time", rfc3339_of(passed.at).encode()),
            _CONTENT,
            ("ce_subject", key),
        ),
    )
