"""At-least-once reading, exactly-once state: one batch is one PostgreSQL transaction with its offsets in it."""

from cxloop_common.processor.errors import (
    Fate,
    FencedError,
    LostDataError,
    PoisonError,
    PoisonFlood,
    PoisonReason,
    ProcessingError,
)
from cxloop_common.processor.handler import Batch, Handler, Transaction

__all__ = [
    "Batch",
    "Fate",
    "FencedError",
    "Handler",
    "LostDataError",
    "PoisonError",
    "PoisonFlood",
    "PoisonReason",
    "ProcessingError",
    "Transaction",
]
