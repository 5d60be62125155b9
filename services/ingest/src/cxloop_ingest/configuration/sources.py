"""sources.yaml as a whole: every source read, every fault reported."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cxloop_common.identifiers import is_source_name
from cxloop_ingest.configuration.nodes import Node, Report, SourceProblem, nearest, parse_yaml
from cxloop_ingest.configuration.rules import read_expression, read_expressions, read_property, read_rules
from cxloop_ingest.domain.signatures import (
    AUTHENTICATION_HEADERS,
    DEFAULT_TOLERANCE_S,
    Credentials,
    Scheme,
    SecretError,
    key_of,
)
from cxloop_ingest.domain.sources import (
    DEFAULT_SCHEME,
    RuleSet,
    ScaleDefault,
    Sender,
    Source,
    TicketLink,
)

_SOURCE_FIELDS: Final = (
    "sender",
    "verify",
    "allow_test",
    "time_zone",
    "phone_region",
    "scales",
    "survey",
    "touchpoint",
    "channel",
    "ticket",
    "dimensions",
    "headers",
    "mapping",
    "unmatched",
)
_VERIFY_FIELDS: Final = ("scheme", "header", "secrets", "tolerance_s")
_SCALE_FIELDS: Final = ("min", "max", "polarity", "good")
_POLARITIES: Final = ("higher_is_better", "lower_is_better")
_MAPPED: Final = frozenset({Sender.MAPPING, Sender.STANDARD_WEBHOOKS})
_LONGEST_TOLERANCE_S: Final = 86_400.0
_REGION_LETTERS: Final = 2


@dataclass(frozen=True)
class LoadedSources:
    """What a file holds. `sources` is empty unless `problems` is."""

    sources: Mapping[str, Source]
    problems: tuple[SourceProblem, ...]
    files: tuple[Path, ...]
    """The file itself and every secret's file: what to watch."""


@dataclass
class _Context:
    """What reading a file needs beside the file, and the further files it leads to."""

    folder: Path
    environ: Mapping[str, str]
    files: list[Path]


def load_sources(path: Path | str, environ: Mapping[str, str] | None = None) -> LoadedSources:
    """Read a sources.yaml and its secrets. Never raises: what is wrong is in `problems`, all of it."""
    path = Path(path)
    report = Report(str(path))
    context = _Context(path.parent, os.environ if environ is None else environ, [path])
    sources: dict[str, Source] = {}
    try:
        content = path.read_text(encoding="utf-8")
    except OSError as error:
        problem = SourceProblem(str(path), 1, 1, "", f"cannot be read: {error.strerror}")
        return LoadedSources({}, (problem,), (path,))
    except UnicodeDecodeError:
        problem = SourceProblem(str(path), 1, 1, "", "is not UTF-8 text")
        return LoadedSources({}, (problem,), (path,))
    root = parse_yaml(content, str(path), report)
    if root is not None:
        fields = root.fields(("sources",), "a mapping with the key sources")
        if "sources" in fields:
            for name, node in fields["sources"].entries("sources by name").items():
                if not is_source_name(name):
                    node.problem("a source's name has lower-case letters, digits and dashes, 63 at most")
                source = _source(name, node, context)
                if source is not None:
                    sources[name] = source
        elif isinstance(root.value, dict):
            root.problem("the key sources is missing")
    problems = tuple(sorted(report.problems))
    return LoadedSources({} if problems else sources, problems, tuple(dict.fromkeys(context.files)))


def _source(name: str, node: Node, context: _Context) -> Source | None:
    fields = node.fields(_SOURCE_FIELDS, "a source")
    if "sender" not in fields:
        if isinstance(node.value, dict):
            node.problem(f"sender is missing; known: {', '.join(sorted(Sender))}")
        return None
    sender = fields["sender"].choice(Sender)
    if sender is None:
        return None
    credentials = _credentials(node, fields.get("verify"), sender, context)
    scales = _scales(fields["scales"]) if "scales" in fields else {}
    allow_test = fields["allow_test"].boolean() if "allow_test" in fields else False
    if allow_test and credentials.scheme is not Scheme.ZENDESK:
        fields["allow_test"].problem("only the scheme zendesk has a published test secret")
    return Source(
        name=name,
        sender=sender,
        credentials=credentials,
        allow_test=allow_test,
        time_zone=_zone(fields["time_zone"]) if "time_zone" in fields else None,
        phone_region=_region(fields["phone_region"]) if "phone_region" in fields else None,
        scales=scales,
        survey_id=fields["survey"].text() if "survey" in fields else None,
        touchpoint=fields["touchpoint"].text() if "touchpoint" in fields else None,
        channel=fields["channel"].text() if "channel" in fields else None,
        ticket=_ticket(fields["ticket"]) if "ticket" in fields else None,
        dimensions=read_expressions(fields["dimensions"]) if "dimensions" in fields else {},
        headers=_headers(fields["headers"], credentials) if "headers" in fields else frozenset(),
        mapping=_mapping(node, fields, sender, name, scales),
    )


def _mapping(
    node: Node, fields: Mapping[str, Node], sender: Sender, name: str, scales: Mapping[str, ScaleDefault]
) -> RuleSet:
    unmatched: Literal["quarantine", "ignore"] = "quarantine"
    if "unmatched" in fields:
        written = fields["unmatched"].text()
        if written not in ("quarantine", "ignore"):
            fields["unmatched"].problem("expected quarantine or ignore")
        else:
            unmatched = written
    if sender not in _MAPPED:
        for field in ("mapping", "unmatched"):
            if field in fields:
                fields[field].problem(f"the sender {sender} is read by its own adapter; use sender: mapping")
        return RuleSet()
    if "mapping" not in fields:
        node.problem(f"mapping is missing; the sender {sender} is read by rules")
        return RuleSet()
    given = {"scale"} if scales else set[str]()
    return RuleSet(read_rules(fields["mapping"], name, given=given), unmatched)


def _credentials(node: Node, verify: Node | None, sender: Sender, context: _Context) -> Credentials:
    default = DEFAULT_SCHEME.get(sender)
    if verify is None:
        node.problem(
            "verify is missing; give its secrets, or say verify: none and mean that anybody may send"
        )
        return Credentials(Scheme.NONE)
    if verify.value == "none":
        return Credentials(Scheme.NONE)
    fields = verify.fields(_VERIFY_FIELDS, "none, or a mapping with secrets")
    scheme = fields["scheme"].choice(Scheme) if "scheme" in fields else default
    if scheme is None:
        if "scheme" not in fields and isinstance(verify.value, dict):
            verify.problem(f"scheme is missing; known: {', '.join(sorted(Scheme))}")
        return Credentials(Scheme.NONE)
    if scheme is Scheme.NONE:
        if "secrets" in fields:
            fields["secrets"].problem("has no meaning with the scheme none")
        return Credentials(Scheme.NONE)
    return Credentials(
        scheme, _keys(verify, fields, scheme, context), _header(verify, fields, scheme), _tolerance(fields)
    )


def _keys(verify: Node, fields: Mapping[str, Node], scheme: Scheme, context: _Context) -> tuple[bytes, ...]:
    if "secrets" not in fields:
        verify.problem("secrets is missing; name an environment variable or a file: [{env: NAME}]")
        return ()
    if fields["secrets"].value == []:
        fields["secrets"].problem("is empty; a source needs at least one live secret")
    items = fields["secrets"].items("a list of {env: NAME} or {file: PATH}")
    return tuple(key for item in items if (key := _key(item, scheme, context)) is not None)


def _header(verify: Node, fields: Mapping[str, Node], scheme: Scheme) -> bytes:
    if scheme is not Scheme.HEADER:
        if "header" in fields:
            fields["header"].problem(f"has no meaning with the scheme {scheme}")
        return b""
    if "header" not in fields:
        verify.problem("header is missing; name the header that carries the secret")
        return b""
    name = (fields["header"].text() or "").lower()
    if not name.isascii() or any(character in name for character in " :\t"):
        fields["header"].problem("is no header name")
        return b""
    return name.encode()


def _tolerance(fields: Mapping[str, Node]) -> float:
    if "tolerance_s" not in fields:
        return DEFAULT_TOLERANCE_S
    seconds = fields["tolerance_s"].number()
    if seconds is not None and not 1 <= seconds <= _LONGEST_TOLERANCE_S:
        fields["tolerance_s"].problem("expected 1 to 86400 seconds")
    return seconds or DEFAULT_TOLERANCE_S


def _key(item: Node, scheme: Scheme, context: _Context) -> bytes | None:
    if not isinstance(item.value, dict):
        item.problem("a secret never stands in this file; write {env: NAME} or {file: PATH}")
        return None
    fields = item.fields(("env", "file"))
    if len(fields) != 1:
        item.problem("give exactly one of env, file")
        return None
    (kind, place), *_ = fields.items()
    where = place.text()
    if where is None:
        return None
    secret = _from_file(place, where, context) if kind == "file" else _from_environment(place, where, context)
    if secret is None:
        return None
    try:
        return key_of(scheme, secret)
    except SecretError as error:
        place.problem(str(error), about_secret=True)
        return None


def _from_environment(place: Node, name: str, context: _Context) -> str | None:
    if name.startswith("CXLOOP_") and not name.startswith("CXLOOP_SECRET_"):
        place.problem("a secret's variable starts with CXLOOP_SECRET_, or not with CXLOOP_ at all")
        return None
    secret = context.environ.get(name, "")
    if not secret.strip():
        place.problem(f"the environment variable {name} is not set", about_secret=True)
        return None
    return secret


def _from_file(place: Node, name: str, context: _Context) -> str | None:
    path = context.folder / name
    context.files.append(path)
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        place.problem(f"the file {name} cannot be read: {error.strerror}", about_secret=True)
    except UnicodeDecodeError:
        place.problem(f"the file {name} is not UTF-8 text", about_secret=True)
    return None


def _zone(node: Node) -> ZoneInfo | None:
    name = node.text()
    if name is None:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        node.problem("no such time zone; write an IANA name such as Europe/Berlin")
        return None


def _region(node: Node) -> str | None:
    region = node.text()
    if region is not None and not (len(region) == _REGION_LETTERS and region.isalpha()):
        node.problem("expected an ISO 3166 country code such as DE")
        return None
    return region.upper() if region is not None else None


def _scales(node: Node) -> dict[str, ScaleDefault]:
    scales: dict[str, ScaleDefault] = {}
    for metric, entry in node.entries("scales by metric").items():
        fields = entry.fields(_SCALE_FIELDS, "a scale")
        least = fields["min"].number() if "min" in fields else None
        most = fields["max"].number() if "max" in fields else None
        if least is None or most is None:
            entry.problem("a scale needs min and max")
            continue
        if least >= most:
            entry.problem("min must be below max")
            continue
        polarity = fields["polarity"].text() if "polarity" in fields else "higher_is_better"
        if polarity not in _POLARITIES:
            fields["polarity"].problem(f"unknown value; {nearest(polarity or '', _POLARITIES)}")
            continue
        good = [item.number() for item in fields["good"].items()] if "good" in fields else None
        scales[metric] = ScaleDefault(
            least,
            most,
            polarity,
            tuple(value for value in good if value is not None) if good is not None else None,
        )
    return scales


def _ticket(node: Node) -> TicketLink | None:
    fields = node.fields(("id", "property", "source"), "a ticket link")
    origins = [name for name in ("id", "property") if name in fields]
    if len(origins) != 1:
        node.problem("give exactly one of id (an expression), property")
        return None
    read = read_property if origins == ["property"] else read_expression
    expression = read(fields[origins[0]])
    source = fields["source"].text() if "source" in fields else None
    if source is not None and not is_source_name(source):
        fields["source"].problem("is no source's name")
    return TicketLink(expression, source) if expression is not None else None


def _headers(node: Node, credentials: Credentials) -> frozenset[str]:
    found: set[str] = set()
    for item in node.items("a list of header names"):
        name = item.text()
        if name is None:
            continue
        lower = name.lower()
        if lower in AUTHENTICATION_HEADERS or lower.encode() == credentials.header:
            item.problem("carries a secret or a signature; such headers are never kept")
        else:
            found.add(lower)
    return frozenset(found)
