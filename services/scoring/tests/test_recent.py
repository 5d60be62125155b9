"""What is remembered of documents: of these facts under these rules, or of none."""

import pytest

from cxloop_scoring.recent import Recent, Standing

STANDING = Standing([], ())


def test_it_answers_for_the_very_facts_and_rules_that_it_was_told_of() -> None:
    recent = Recent()
    recent.keep("ticket:a:1", b"facts", 7, STANDING)
    assert recent.find("ticket:a:1", b"facts", 7) is STANDING


@pytest.mark.parametrize(
    ("document", "encoded", "generation"),
    [
        pytest.param("ticket:a:1", b"facts and another", 7, id="another worker added a fact"),
        pytest.param("ticket:a:1", b"facts", 8, id="other rules are in force"),
        pytest.param("ticket:a:2", b"facts", 7, id="another document has the same facts"),
    ],
)
def test_it_does_not_answer_for_anything_else(document: str, encoded: bytes, generation: int) -> None:
    recent = Recent()
    recent.keep("ticket:a:1", b"facts", 7, STANDING)
    assert recent.find(document, encoded, generation) is None


def test_it_keeps_the_latest_and_never_more_than_twice_as_many() -> None:
    recent = Recent(kept=10)
    for number in range(100):
        recent.keep(f"ticket:a:{number}", b"facts", 7, STANDING)
        latest = range(max(0, number - 9), number + 1)
        assert all(recent.find(f"ticket:a:{one}", b"facts", 7) for one in latest)
        assert len(recent) <= 20
