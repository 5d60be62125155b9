"""What every service's HTTP API is made of."""

from cxloop_common.http.access import authorise, require
from cxloop_common.http.app import ServiceApp, create_app
from cxloop_common.http.conditions import IdempotencyKey, IfMatch, check_if_match, etag, idempotency_key
from cxloop_common.http.paging import (
    Page,
    PageRequest,
    Paging,
    decode_cursor,
    encode_cursor,
    page_request,
)
from cxloop_common.http.parameters import StrictQuery, parameter_problem, parse_instant, parse_window
from cxloop_common.http.problems import PROBLEM_JSON, Problem, json_pointer, validation_problem
from cxloop_common.http.readiness import Readiness, ReadinessCheck, readiness
from cxloop_common.http.server import BoundedServer, make_server, run_server

__all__ = [
    "PROBLEM_JSON",
    "BoundedServer",
    "IdempotencyKey",
    "IfMatch",
    "Page",
    "PageRequest",
    "Paging",
    "Problem",
    "Readiness",
    "ReadinessCheck",
    "ServiceApp",
    "StrictQuery",
    "authorise",
    "check_if_match",
    "create_app",
    "decode_cursor",
    "encode_cursor",
    "etag",
    "idempotency_key",
    "json_pointer",
    "make_server",
    "page_request",
    "parameter_problem",
    "parse_instant",
    "parse_window",
    "readiness",
    "require",
    "run_server",
    "validation_problem",
]
