"""All generated files of a checkout: their paths and texts, and how they differ from those on the disk."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from cxloop_cli.generate import asyncapi, metrics_page, openapi, schemas, topic_files
from cxloop_cli.generate.compatibility import breaking_changes
from cxloop_cli.generate.settings_tables import with_settings

FOLDER: Final = "docs/generated"
README: Final = f"{FOLDER}/README.md"
_ABOUT: Final = """\
# Generated documents

Written by `cxloop generate` from the code, checked by `cxloop generate --check`; do not edit.

| Where | What |
|---|---|
| [openapi/](openapi) | OpenAPI of each service |
| [asyncapi.json](asyncapi.json) | AsyncAPI 3.0: every topic, its writers, keys and settings |
| [schemas/](schemas) | JSON Schema of each event's data, by topic |
| [../../deploy/topics/topics.yaml](../../deploy/topics/topics.yaml) | Topic definitions |
| [../metrics.md](../metrics.md) | What each metric says |

The settings tables in the services' READMEs are generated as well.
"""


class CheckoutError(Exception):
    """There is no checkout of this project here."""


@dataclass(frozen=True)
class Differences:
    """What is not as the code says, paths below the checkout."""

    missing: list[str] = field(default_factory=list[str])
    changed: list[str] = field(default_factory=list[str])
    stale: list[str] = field(default_factory=list[str])
    """Files that nothing generates any more."""
    broken: list[str] = field(default_factory=list[str])
    """Schemas that took something away within their version, a line each."""

    @property
    def names(self) -> list[str]:
        """All files concerned."""
        return sorted([*self.missing, *self.changed, *self.stale])


def find_checkout(start: Path) -> Path:
    """Give the nearest folder upwards that holds the services. Raises CheckoutError."""
    for folder in (start, *start.parents):
        if (folder / "services").is_dir() and (folder / "libs" / "common").is_dir():
            return folder
    raise CheckoutError("run this inside a checkout of CX Loop, or name one with --root")


def documents(root: Path) -> dict[str, str]:
    """Build every generated file, by path below `root`. Raises MarkerError for a README with a bad marker."""
    built = {
        f"{FOLDER}/{path}": _json(document)
        for path, document in {
            **schemas.schemas(),
            asyncapi.PATH: asyncapi.asyncapi(version("cxloop")),
        }.items()
    }
    built[README] = _ABOUT
    built[topic_files.PATH] = topic_files.topic_definitions()
    built[metrics_page.PATH] = metrics_page.metrics_page()
    for name, service in openapi.services().items():
        built[f"{FOLDER}/{openapi.FOLDER}/{name}.json"] = _json(openapi.openapi(service))
        path = f"services/{name}/README.md"
        readme = _read(root / path)
        if readme is not None and (text := with_settings(readme, service.settings)) is not None:
            built[path] = text
    return built


def differences(root: Path, built: Mapping[str, str]) -> Differences:
    """Compare with the disk."""
    found = Differences()
    for path, text in sorted(built.items()):
        there = _read(root / path)
        if there is None:
            found.missing.append(path)
        elif there != text:
            found.changed.append(path)
            if path.startswith(f"{FOLDER}/{schemas.FOLDER}/"):
                taken = breaking_changes(json.loads(there), json.loads(text))
                found.broken.extend(f"{path}: {line}" for line in taken)
    for file in sorted((root / FOLDER).rglob("*")):
        path = file.relative_to(root).as_posix()
        if file.is_file() and path not in built:
            found.stale.append(path)
            if path.startswith(f"{FOLDER}/{schemas.FOLDER}/"):
                found.broken.append(f"{path}: the event was removed")
    return found


def write(root: Path, built: Mapping[str, str], found: Differences) -> None:
    """Bring the disk to what was built."""
    for path in (*found.missing, *found.changed):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(built[path], encoding="utf-8", newline="\n")
    for path in found.stale:
        (root / path).unlink()


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _json(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
