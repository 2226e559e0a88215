"""Forests under random joins, failures and leaves, with every rule checked after each."""

from __future__ import annotations

from random import Random

from spinney.p2pcast.plans import checks
from spinney.p2pcast.plans.forest import Cost, Forest

SHAPES = tuple((stripes, spare) for stripes in (2, 3, 4, 5, 8, 16) for spare in (0, stripes // 4))
"""(stripes, spare slots) that the seeds take turns with."""
WHOLE_EVERY = 50
"""Steps between two looks at everything; in between, a look around what a step touched."""


def look(forest: Forest, cost: Cost) -> None:
    """Every rule, around whom this step touched."""
    touched = {move.child: None for move in cost.moves}
    touched |= {move.after: None for move in cost.moves}
    checks.around(forest.places, touched)


def grown(stripes: int, spare: int, peers: int, seed: int, *, every: int = 1) -> Forest:
    """A forest of so many peers; looked at after each `every`th join."""
    forest = Forest(stripes, Random(f"{stripes}/{spare}/{peers}/{seed}"), spare=spare)
    for name in range(peers):
        cost = forest.join(name, since=float(name))
        if name % every == 0:
            look(forest, cost)
    checks.whole(forest.places)
    return forest


def churn(forest: Forest, steps: int, seed: int, least: int, most: int) -> None:
    """Random joins and failures with sizes between `least` and `most`."""
    rng = Random(seed)
    name = max(forest.names, default=-1) + 1
    target = rng.randint(least, most)
    for step in range(steps):
        if len(forest) == target:
            target = rng.randint(least, most)
        rises = len(forest) < target
        if not forest.names or rng.random() < (0.8 if rises else 0.2):
            cost = forest.join(name, since=float(name))
            name += 1
        else:
            cost = forest.leave(rng.choice(forest.names))
        look(forest, cost)
        if step % WHOLE_EVERY == WHOLE_EVERY - 1:
            checks.whole(forest.places)
    checks.whole(forest.places)


def one_seed(seed: int, peers: int, steps: int, *, every: int = 1) -> Forest:
    """One forest whose shape the seed chooses, grown and churned."""
    stripes, spare = SHAPES[seed % len(SHAPES)]
    forest = grown(stripes, spare, peers, seed, every=every)
    churn(forest, steps, seed, peers - peers // 5, peers + peers // 5)
    return forest
