"""Matchers: what they mean, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxloop_alerting.domain.matchers import MatcherError, parse_matcher

LABELS = {"metric": "csat", "value": "2", "team": "", "tag": ("vip", "beta"), "none": ()}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("metric=csat", True),
        ("metric!=csat", False),
        ('metric = "csat"', True),
        ("metric=~cs.*", True),
        ("metric=~cs", False),  # the whole value, not a part of it
        ("metric!~cs", True),
        ("value<=2", True),
        ("value<2", False),
        ("value>=2", True),
        ("value>1.5", True),
        ("metric<9", False),  # no number
        ("metric>=0", False),
        ("absent=", True),  # absent is the empty string
        ("absent!=x", True),
        ("absent=~.*", True),
        ("absent<5", False),
        ("team=", True),
        ("tag=vip", True),  # any of several
        ("tag!=vip", False),
        ("tag!=gold", True),
        ("tag=~b.*", True),
        ("none=", True),
        ("none!~.+", True),
        (r"value=~\d", True),
        (r'value=~"\\d"', True),
        ('metric=~"(?i)CSAT"', True),
    ],
)
def test_a_matcher_means_what_its_table_says(text: str, *, holds: bool) -> None:
    assert parse_matcher(text).matches(LABELS) is holds


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("metric", "not a matcher"),
        ("=csat", "not a matcher"),
        ("a b=c", "not a matcher"),
        ("value<two", "compares numbers"),
        ("value<nan", "compares numbers"),
        ("metric=~(", "not an RE2 pattern"),
        (r"metric=~(a)\1", "not an RE2 pattern"),
        ('metric="csat', "closing quote"),
        ('metric="a"b', "follows the closing quote"),
        ('metric=a"b', "written in quotes"),
    ],
)
def test_what_is_no_matcher_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(MatcherError, match=reason):
        parse_matcher(text)


@given(
    st.from_regex(r"[a-z][a-z0-9_.]{0,8}", fullmatch=True),
    st.sampled_from(["=", "!="]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
)
def test_a_matcher_reads_back_as_it_is_shown(name: str, op: str, value: str) -> None:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    matcher = parse_matcher(f'{name}{op}"{escaped}"')
    assert (matcher.name, matcher.op, matcher.value) == (name, op, value)
    assert matcher.matches({name: value}) is (op == "=")
