"""Tests of `up` and `Stack` run real Kafka, PostgreSQL and supervisord around services of a few lines.

The packages below stand where the services' modules do, in processes that the tests start: what is proven
here is how they are run, not what they do.
"""

from pathlib import Path

import pytest

SERVICE = """
import http.server, os, sys
name = __package__.removeprefix("cxloop_")
assert "CXLOOP_DATA_DIR" not in os.environ
if sys.argv[1:] == ["--role", "migrate"]:
    if os.environ.get("PROBE_MIGRATION") == "fails":
        sys.exit("relation is missing")
    sys.exit(0)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503 if os.environ.get("PROBE_READY") == "never" else 200)
        self.end_headers()
        self.wfile.write(b"kafka: no answer")
print(name, "listens for", os.environ["CXLOOP_KAFKA_BOOTSTRAP"], flush=True)
http.server.HTTPServer(("127.0.0.1", int(os.environ[f"CXLOOP_{name.upper()}_PORT"])), Handler).serve_forever()
"""


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of importable stand-ins, first on the path of every process started from here."""
    root = tmp_path / "packages"
    for name in ("probe", "other"):
        (root / f"cxloop_{name}").mkdir(parents=True)
        (root / f"cxloop_{name}" / "__init__.py").touch()
        (root / f"cxloop_{name}" / "__main__.py").write_text(SERVICE, encoding="utf-8")
    (root / "cxloop_common").mkdir()
    (root / "cxloop_common" / "__init__.py").touch()
    (root / "cxloop_common" / "topics.py").write_text(
        "import sys; assert sys.argv[1:] == ['create']", encoding="utf-8"
    )
    monkeypatch.setenv("PYTHONPATH", str(root))
    monkeypatch.setenv("CXLOOP_DATA_DIR", str(tmp_path / "ignored"))
    return root
