"""The ceiling for intake: a bare Starlette application that checks a signature, decodes the body and stores nothing.

It runs under the same server, with the same options, as the services. `python -m bench.intake_peer PORT`;
the secret is read from BENCH_SECRET.
"""

import base64
import hmac
import os
import sys
import time
from datetime import datetime

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cxloop_common.http import make_server

TOLERANCE_S = 300
ENCODE = msgspec.json.Encoder().encode
DECODE = msgspec.json.Decoder().decode


def application(secret: bytes) -> Starlette:
    """Make the application: one route that accepts what a Zendesk source with this secret signed."""

    async def receive(request: Request) -> Response:
        body = await request.body()
        stamp = request.headers["x-zendesk-webhook-signature-timestamp"]
        signature = base64.b64decode(request.headers["x-zendesk-webhook-signature"])
        expected = hmac.digest(secret, stamp.encode() + body, "sha256")
        if not hmac.compare_digest(expected, signature):
            return Response(status_code=401)
        if abs(time.time() - datetime.fromisoformat(stamp).timestamp()) > TOLERANCE_S:
            return Response(status_code=401)
        DECODE(body)
        answer = {"delivery_id": hmac.digest(b"delivery", body, "sha256").hex()[:32]}
        return Response(ENCODE(answer), status_code=202, media_type="application/json")

    async def health(_: Request) -> Response:
        return Response()

    return Starlette(
        routes=[Route("/webhooks/{source}", receive, methods=["POST"]), Route("/healthz", health)]
    )


if __name__ == "__main__":
    make_server(application(os.environ["BENCH_SECRET"].encode()), "127.0.0.1", int(sys.argv[1])).run()
