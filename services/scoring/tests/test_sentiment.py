import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxloop_scoring.domain.sentiment import LONGEST, polarity


@pytest.mark.parametrize(
    "comment",
    [
        "The agent was friendly and solved everything at once",
        "Great!",
        "Super service",
        "Thank you, that was really quick",
        "Not bad at all",
        "I love the new app \N{SMILING FACE WITH SMILING EYES}",
        "\N{GRINNING FACE}",
    ],
)
def test_praise_is_positive(comment: str) -> None:
    found = polarity(comment)
    assert found is not None
    assert 5 <= found <= 100


@pytest.mark.parametrize(
    "comment",
    [
        "I hate waiting and the bot is useless",
        "Terrible service",
        "Worst experience ever",
        "The parcel arrived broken and nobody helped me",
        "I am not happy with this",
        "It\N{RIGHT SINGLE QUOTATION MARK}s awful, I don\N{RIGHT SINGLE QUOTATION MARK}t like it",
    ],
)
def test_blame_is_negative(comment: str) -> None:
    found = polarity(comment)
    assert found is not None
    assert -100 <= found <= -5


@pytest.mark.parametrize("comment", ["The parcel arrived on Tuesday", "Which form do I need?"])
def test_english_without_feeling_is_zero(comment: str) -> None:
    assert polarity(comment) == 0


@pytest.mark.parametrize(
    "comment",
    [
        # Each holds words that an English lexicon reads as feelings: die, war, super, excellent, terrible, no.
        "Die Lieferung war super und kam pünktlich",
        "Das war leider nichts, die Hotline ist eine Katastrophe",
        "Le service est excellent mais un peu lent",
        "Una experiencia terrible, no vuelvo a comprar",
        "Het was een drama, niet goed",
        "Servizio eccellente, molto gentili",
        "Atendimento excelente, muito rápido",
        "Det var super, men dyrt",
        "Obsługa była super, ale drogo",
        "Отлично, всё понравилось",
        "とても満足しています",
        "No problema",
        "Kompetent und freundlich",
    ],
)
def test_another_language_has_no_polarity(comment: str) -> None:
    assert polarity(comment) is None


@pytest.mark.parametrize("comment", ["", "   ", "10/10", "...", "n/a", "Tq", "\N{PACKAGE}"])
def test_what_says_nothing_has_no_polarity(comment: str) -> None:
    assert polarity(comment) is None


@given(st.text(max_size=300))
def test_any_text_has_one_polarity_within_bounds_or_none(comment: str) -> None:
    found = polarity(comment)
    assert found is None or -100 <= found <= 100
    assert polarity(comment) == found


def test_what_follows_the_longest_part_changes_nothing() -> None:
    comment = "The agent was friendly. ".ljust(LONGEST, "-")
    assert polarity(comment + " I hate it, terrible, awful") == polarity(comment)


def test_it_needs_no_network_no_model_and_none_of_the_large_packages() -> None:
    # Modules that other tests loaded must not count.
    code = (
        "import socket, sys; socket.socket = None\n"
        "from cxloop_scoring.domain.sentiment import polarity\n"
        "assert polarity('I love it') > 0\n"
        "print(sorted({'torch', 'nltk', 'numpy', 'requests', 'spacy'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - our own interpreter and code
    assert ran.stdout.strip() == "[]"
