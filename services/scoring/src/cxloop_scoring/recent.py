"""What documents contribute that were touched a moment ago: touched again, they need not be folded as they were."""

from typing import Final

import msgspec

from cxloop_scoring.domain.clocks import ClockAnomaly
from cxloop_scoring.domain.observations import Observation

KEPT: Final = 16_384
"""Documents of which at least the latest are kept, and at most twice as many: 30 to 60 MiB. Most events of a document
come within minutes of each other, which is a few batches."""


class Standing(msgspec.Struct, frozen=True, gc=False):
    """What a document contributes."""

    observations: list[Observation]
    anomalies: tuple[ClockAnomaly, ...]


class _Kept(msgspec.Struct, frozen=True, gc=False):
    encoded: bytes
    generation: int
    standing: Standing


class Recent:
    """Remembers a pure function, and nothing of what is in the database.

    It is asked with the very bytes that a batch has read in its own transaction, and answers only where it was told
    of these under the same rules. So it makes no difference that another worker changed the document meanwhile, or
    that the transaction in which it was told was rolled back.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self._most = kept
        self._young: dict[str, _Kept] = {}
        self._old: dict[str, _Kept] = {}

    def __len__(self) -> int:
        """Count what is kept."""
        return len(self._young) + len(self._old)

    def keep(self, document: str, encoded: bytes, generation: int, standing: Standing) -> None:
        """Remember what a document with these facts contributes by the rules of a generation."""
        if len(self._young) >= self._most:
            self._old, self._young = self._young, {}
        self._young[document] = _Kept(encoded, generation, standing)

    def find(self, document: str, encoded: bytes, generation: int) -> Standing | None:
        """Give what a document with these facts contributes; None where that is not known."""
        kept = self._young.get(document) or self._old.get(document)
        if kept is None or kept.generation != generation or kept.encoded != encoded:
            return None
        return kept.standing
