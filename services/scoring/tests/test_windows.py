"""Windows taken apart with signs, and histograms read in bulk: exactly what the plain way gives."""

import random
from collections import Counter

import pytest

from cxloop_scoring.domain.histogram import Ranks, at_rank, bin_middle, decode_histogram, encode_histogram
from cxloop_scoring.domain.windows import BEGINNING, DAY, HOUR, Span, layers, pieces


def hours_of(window: Span) -> Counter[int]:
    """Count how often each hour is added, less how often it is taken away."""
    found: Counter[int] = Counter()
    parts = pieces(window)
    for sign, span in parts.hours:
        found.update(dict.fromkeys(range(span.since, span.until), sign))
    for sign, span in parts.days:
        found.update(dict.fromkeys(range(span.since * 24, span.until * 24), sign))
    return Counter({hour: times for hour, times in found.items() if times})


@pytest.mark.parametrize("seed", range(200))
def test_pieces_add_up_to_every_hour_of_the_window_once(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - windows, reproducible by their seed
    since = chance.randrange(-40 * DAY, 40 * DAY)
    window = Span(
        since, since + chance.choice([chance.randrange(1, 3 * DAY), chance.randrange(40 * DAY), HOUR])
    )
    if chance.random() < 0.5:
        window = Span(window.since // HOUR * HOUR, window.until // HOUR * HOUR)
    whole = range(-(-window.since // HOUR), window.until // HOUR)
    assert hours_of(window) == Counter(whole)
    parts = pieces(window)
    assert parts.edges == layers(window).edges
    assert sum(span.until - span.since for _, span in parts.hours) <= max(24, 0 if parts.days else len(whole))


def test_everything_before_a_moment_is_days_and_a_few_hours() -> None:
    parts = pieces(Span(BEGINNING, 20_000 * DAY + 23 * HOUR + 5))
    assert parts.days == ((1, Span(BEGINNING // DAY, 20_001)),)
    assert parts.hours == ((-1, Span(20_000 * 24 + 23, 20_001 * 24)),)
    assert parts.edges == (Span(20_000 * DAY + 23 * HOUR, 20_000 * DAY + 23 * HOUR + 5),)


@pytest.mark.parametrize("pairs", [3, 199, 201, 5_000])
@pytest.mark.parametrize("counts", [(1,), (1, 1, 1, -1, 2), (65_536, 65_537, -1)])
def test_histograms_in_a_row_are_their_sum_however_many(pairs: int, counts: tuple[int, ...]) -> None:
    chance = random.Random(pairs)  # noqa: S311 - test data
    written = [(chance.randrange(4_000), chance.choice(counts)) for _ in range(pairs)]
    expected: Counter[int] = Counter()
    for number, count in written:
        expected[number] += count
    held = b"".join(encode_histogram({number: count}) for number, count in written)
    assert decode_histogram(held) == {number: count for number, count in expected.items() if count}


def test_ranks_are_those_of_the_sorted_entries() -> None:
    chance = random.Random(7)  # noqa: S311 - test data
    entries = sorted(chance.randrange(200) for _ in range(999))
    ranks = Ranks(Counter(entries))
    for rank in (1, 2, 500, 998, 999):
        assert ranks.at(rank) == at_rank(Counter(entries), rank) == bin_middle(entries[rank - 1])
    assert ranks.quantile(0.5) == bin_middle(entries[499])
    with pytest.raises(ValueError, match="fewer entries"):
        ranks.at(1000)
    assert Ranks({}).quantile(0.5) is None
