"""Which images of what was met are kept, under a fixed budget of images.

Both memories are functions of what was met and of a seed: nothing is stored, and a stage that is computed
again keeps the same images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from interfero.domains.images import Sample
from interfero.randomness import Role, seed_for


def remembered(
    met: Sequence[Sequence[Sample]],
    num_images: int,
    buffer: Literal["reservoir", "balanced"],
    seed: int,
) -> tuple[tuple[Sample, ...], ...]:
    """The images that are kept of each domain, in the order in which they were met.

    `reservoir` is reservoir sampling (Vitter, ACM TOMS 11, 1985) by a random rank for each image: the lowest
    ranks of all are kept, so each image met is kept with the same probability. `balanced` divides the budget
    equally among the domains (as iCaRL does among classes, arXiv:1611.07725); earlier domains get what is
    left over, and what a small one cannot fill. With both, a later memory has no image of an earlier domain
    that the earlier memory had lost.

    Args:
        met: Training images by domain, in the order in which they were met.
        num_images: Images to keep, at most.
        buffer: How to choose them.
        seed: Draws the ranks.
    """
    ranks = [
        [seed_for(seed, place, Role.MEMORY, label=s.name + s.digest) for s in domain]
        for place, domain in enumerate(met)
    ]
    if buffer == "reservoir":
        lowest = set(sorted(rank for domain in ranks for rank in domain)[:num_images])
        shares = [len(lowest.intersection(domain)) for domain in ranks]
    else:
        shares = _shares([len(domain) for domain in met], num_images)
    kept = []
    for domain, own, share in zip(met, ranks, shares, strict=True):
        chosen = set(sorted(own)[:share])
        kept.append(tuple(s for s, rank in zip(domain, own, strict=True) if rank in chosen))
    return tuple(kept)


def _shares(sizes: Sequence[int], num_images: int) -> list[int]:
    """A fair division of a budget: the smallest share is as large as can be, then the next."""
    shares = [0] * len(sizes)
    left = min(num_images, sum(sizes))
    while left:
        open_ = [i for i, size in enumerate(sizes) if shares[i] < size]
        least = min(shares[i] for i in open_)
        shares[next(i for i in open_ if shares[i] == least)] += 1
        left -= 1
    return shares
