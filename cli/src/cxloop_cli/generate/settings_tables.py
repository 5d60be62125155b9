"""Settings tables inside the services' READMEs, between two markers."""

from typing import Final

from cxloop_common.settings import ServiceSettings, settings_table

START: Final = "<!-- settings:start -->"
END: Final = "<!-- settings:end -->"


class MarkerError(ValueError):
    """A README has one marker without the other, or both in the wrong order."""


def with_settings(readme: str, settings: type[ServiceSettings]) -> str | None:
    """Put the table between the markers; None for a README without them. Raises MarkerError."""
    start, end = readme.find(START), readme.find(END)
    if start == end == -1:
        return None
    if start == -1 or end < start:
        raise MarkerError(f"the settings table stands between {START} and {END}, in this order")
    return f"{readme[: start + len(START)]}\n{settings_table(settings)}{readme[end:]}"
