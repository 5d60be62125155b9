"""Sentiment: whether a comment speaks well or ill, for comments in English alone.

VADER (Hutto and Gilbert, 2014) adds up the words of a lexicon that people rated, with rules for negation,
emphasis and contrast; the lexicon comes with the package `vader`. A comment in another language has no
polarity: the lexicon would read the German article "die" as a verb. Decision 10 has the alternatives.

What it is bad at: irony; complaints without a word of feeling ("two weeks, and nobody answers" is neutral);
praise of one thing beside blame of another, which cancel out; words that are bad in general and good in the
trade, or the other way round; misspelt words. Read it as the mean of hundreds of comments, never of one.
"""

import re
from typing import Final

from vader import SentimentIntensityAnalyzer

LONGEST: Final = 1_000
"""Characters that are read: the lexicon takes some 4 us a word, and what follows is seldom about something else."""

_WORD: Final = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")
_ANALYZER: Final = SentimentIntensityAnalyzer()
_KNOWN: Final = frozenset(_ANALYZER.lexicon) - {"no"}


def _words(*lines: str) -> frozenset[str]:
    return frozenset(word for line in lines for word in line.split())


# Words that carry grammar tell languages apart in a sentence of five words already. Those that two languages
# share (was, in, an, so, am, me, a, no, not, to, do) tell nothing and stand in neither list. A few words that
# comments are made of stand among the English ones, for comments are often too short for grammar.
_ENGLISH: Final = _words(
    "the and is are were be been have has had i i'm i've it it's its this that these those you your we our they",
    "their he she his her my of for with but from at by very don't didn't doesn't can't couldn't won't wasn't",
    "isn't which when what who how there would could should did does than then because only just too after",
    "before if or more some all any every much ever never always really still again everything nothing",
    "something quickly slow fast late quick helpful experience delivery customer refund waiting ordered",
)
_FOREIGN: Final = _words(
    "der die das und ist nicht ich wir sie sehr mit für auf dem den ein eine einen aber auch war waren haben",
    "hatte wurde bei nach wie noch zu zum zur sind es kein keine mehr immer wieder habe hat von im alles",
    "le la les des est et une pas très pour avec je nous vous mais dans sur du que qui au ce ne plus un c'est",
    "j'ai n'est trop bien mal tout",
    "el los las y muy con para por una pero del fue todo está se su mi le más sin nada",
    "il che di non è per molto sono gli ma della ho ha si anche",
    "não muito com uma os foi mas um são em da",
    "het een niet ik zeer maar voor zijn goed naar geen wel deze dat",
    "och inte är det ikke jeg på som men av med til nie jest bardzo się jak ale",
)


def polarity(comment: str) -> int | None:
    """Give the polarity of a comment in hundredths, -100..100; None where its language is not known.

    0 is an English comment without feeling, or one whose feelings cancel out. A comment without words, such as a
    face alone, has a polarity where the lexicon knows the face, and none otherwise.
    """
    text = comment[:LONGEST]
    words = [word.lower().replace("\u2019", "'") for word in _WORD.findall(text)]
    if words and not _is_english(words):
        return None
    compound = _ANALYZER.polarity_scores(text)["compound"]
    if not words and not compound:
        return None
    return round(compound * 100)


def _is_english(words: list[str]) -> bool:
    """Tell English by its function words; where there are none, by at least half the words being in the lexicon."""
    english = sum(word in _ENGLISH for word in words)
    foreign = sum(word in _FOREIGN for word in words)
    if english or foreign:
        return english > foreign
    return 2 * sum(word in _KNOWN for word in words) >= len(words)
