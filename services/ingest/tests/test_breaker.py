"""While Kafka does not answer one delivery finds out, the others are told at once, and it heals by itself."""

from cxloop_ingest.domain.breaker import Admission, Breaker


def breaker() -> Breaker:
    return Breaker(cooldown_s=5, stall_s=1)


def test_a_failure_refuses_everybody_for_the_cooldown() -> None:
    one = breaker()
    assert one.admit(0) is Admission.CLOSED
    one.failed(1)
    assert one.admit(1) is Admission.OPEN
    assert one.admit(5.9) is Admission.OPEN
    assert one.retry_after_s(2) == 4


def test_after_the_cooldown_one_probe_decides() -> None:
    one = breaker()
    one.admit(0)
    one.failed(0)
    assert one.admit(5) is Admission.PROBE
    assert one.admit(5) is Admission.OPEN
    one.failed(6)
    assert one.admit(10) is Admission.OPEN
    assert one.admit(11) is Admission.PROBE
    one.succeeded(11)
    assert one.admit(11) is Admission.CLOSED


def test_a_probe_whose_caller_went_away_leaves_room_for_the_next() -> None:
    one = breaker()
    one.admit(0)
    one.failed(0)
    assert one.admit(5) is Admission.PROBE
    one.abandoned()
    assert one.admit(5) is Admission.PROBE


def test_while_others_wait_too_long_nobody_joins_them() -> None:
    one = breaker()
    assert one.admit(0) is Admission.CLOSED
    assert one.admit(1) is Admission.CLOSED
    assert one.admit(1.1) is Admission.STALLED
    one.succeeded(1.2)
    assert one.admit(1.3) is Admission.CLOSED


def test_an_idle_time_is_no_stall() -> None:
    one = breaker()
    one.admit(0)
    one.succeeded(0.1)
    assert one.admit(100) is Admission.CLOSED
