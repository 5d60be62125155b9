"""One installation, told twice: as the files that the service reads, and as the oracle knows it."""

from datetime import date

from cxloop_common.configuration.reading import Source
from cxloop_scoring.configuration import parse_rules

from .configured import Calendar, Configured, Target
from .rows import DAY, HOUR

CALENDARS = """
calendars:
  office:
    zone: Europe/Berlin
    week:
      mon-thu: ["09:00-12:30", "13:30-18:00"]
      fri: "09:00-16:00"
    closed: [2026-04-03]
  evenings:
    zone: America/New_York
    week: { mon-sun: "17:00-23:30" }
default: office
teams: { returns: evenings }
"""
METRICS = """
sla:
  - match: { priority: [urgent, high] }
    first_response: 30m
    resolution: 1d
  - match: { team: billing, channel: [email, web] }
    first_response: 1h
    resolution: 24h
    hours: business
  - match: { contact_type: login }
    resolution: 40d
costs: { currency: EUR }
lifecycle: { active: [purchase, signup, renewal, usage], left: [cancellation, churn] }
"""

_DAY_AT_WORK = (("09:00", "12:30"), ("13:30", "18:00"))
_OFFICE = Calendar(
    "Europe/Berlin",
    {**dict.fromkeys(range(4), _DAY_AT_WORK), 4: (("09:00", "16:00"),)},
    frozenset({date(2026, 4, 3)}),
)
_EVENINGS = Calendar("America/New_York", dict.fromkeys(range(7), (("17:00", "23:30"),)))
INSTALLATION = Configured(
    calendars={None: _OFFICE, "returns": _EVENINGS},
    policies=(
        (
            {"priority": ("urgent", "high")},
            (Target("first_response", HOUR // 2), Target("resolution", DAY)),
        ),
        (
            {"team": ("billing",), "channel": ("email", "web")},
            (Target("first_response", HOUR, _OFFICE), Target("resolution", 24 * HOUR, _OFFICE)),
        ),
        ({"contact_type": ("login",)}, (Target("resolution", 40 * DAY),)),
    ),
    active_words=("purchase", "signup", "renewal", "usage"),
    left_words=("cancellation", "churn"),
)
RULES = parse_rules(Source("metrics.yaml", METRICS), Source("calendars.yaml", CALENDARS))
"""What the service makes of the files."""
