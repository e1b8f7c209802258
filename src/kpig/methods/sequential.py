"""Sequential tuning: what forgetting costs where nothing is done about it."""

from kpig.methods.base import Method


class Sequential(Method):
    """Cross-entropy on the current step only."""

    shards = True
