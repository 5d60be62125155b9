"""Many tests at once: among enough groups one is always conspicuous by chance."""

from collections.abc import Sequence


def q_values(p_values: Sequence[float]) -> list[float]:
    """Give the q-value of each p-value, in their order: the least false discovery rate that keeps it.

    For the p-values in rising order, q_i = min over j >= i of p_j * m / j, at most 1. To call significant
    what has q < 0.05 holds the expected share of false calls below 5 %, for independent and for positively
    dependent tests.
    Source: Benjamini, Hochberg (1995), Journal of the Royal Statistical Society B 57(1); as adjusted
    p-values: Yekutieli, Benjamini (1999), Journal of Statistical Planning and Inference 82.
    """
    m = len(p_values)
    q = [1.0] * m
    least = 1.0
    for rank, place in reversed(list(enumerate(sorted(range(m), key=p_values.__getitem__), start=1))):
        least = min(least, p_values[place] * m / rank)
        q[place] = least
    return q
