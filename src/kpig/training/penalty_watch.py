"""How large a method's penalties are beside the cross-entropy; a warning where one is lost, or is all."""

from collections.abc import Iterable, Mapping

from kpig.methods.base import Method

LEAST, MOST = 1e-4, 10.0
"""The range of a penalty over the cross-entropy inside which nothing is said. Chosen, not measured: below it
the penalty is lost beside the loss; above it the task is less than a tenth of what is minimised."""

WINDOW = 50
"""Updates in a row that a penalty must be outside. Chosen: a single batch says little, and L2 and EWC begin
each step at 0, so that their first updates are always below."""

FEWEST = 2
"""Updates that make a judgement at least: at the first of a step nothing has moved from where it is held."""


def ratios(record: Mapping[str, float], penalties: Iterable[str]) -> dict[str, float]:
    """Each penalty in the record of one update divided by the record's cross-entropy.

    Penalties that the record does not have are left out; so is everything where the cross-entropy is 0.
    """
    entropy = record.get("cross_entropy", 0.0)
    return {name: record[name] / entropy for name in penalties if name in record} if entropy > 0 else {}


class PenaltyWatch:
    """Sees every update of a step, and says once when a penalty stays too small or too large.

    `penalties` names the terms of a record that are penalties, each with the setting that scales it.
    A penalty stays outside `LEAST` to `MOST` when it does for `WINDOW` updates in a row, or for all of a
    shorter step of at least `FEWEST`. Terms that a step does not have, as in the first one of most methods,
    are not judged: a method leaves them out of its log, or returns None as its penalty.
    `weights` has, for those that are a weight times a divergence, that weight. Such a penalty is too small
    only where the divergence alone would not be: else the model still equals what it is held to.
    """

    def __init__(
        self, penalties: Mapping[str, str], num_updates: int, weights: Mapping[str, float] | None = None
    ):
        self.penalties = penalties
        self.weights = weights or {}
        self.window = max(FEWEST, min(WINDOW, num_updates))
        self._rows: dict[str, list[float]] = {}
        self._said = False

    def warning(self, record: Mapping[str, float]) -> str | None:
        """What to tell the user after this update, of which the record has the means; mostly nothing."""
        if self._said:
            return None
        for name, ratio in ratios(record, self.penalties).items():
            row = self._rows.get(name, [])
            if row and _side(row[-1]) != _side(ratio):
                row = []
            self._rows[name] = [*row, ratio] if self._is_outside(name, ratio) else []
        long = [name for name, row in self._rows.items() if len(row) >= self.window]
        self._said = bool(long)
        return _text(long[0], self.penalties[long[0]], self._rows[long[0]]) if long else None

    def _is_outside(self, name: str, ratio: float) -> bool:
        """Whether a ratio is out of the range by its weight, and not by how little there is to weigh."""
        weight = self.weights.get(name)
        if weight is None or _side(ratio) > 0:
            return _side(ratio) != 0
        return _side(ratio) < 0 and ratio >= LEAST * weight > 0


def watch_over(method: Method, num_updates: int) -> PenaltyWatch:
    """The watch over a step of a method, with the weights of its divergences."""
    return PenaltyWatch(method.all_penalties(), num_updates, method.divergence_weights())


def _side(ratio: float) -> int:
    """-1 below the range that is wanted, 1 above it, 0 inside."""
    return -1 if ratio < LEAST else 1 if ratio > MOST else 0


def _text(name: str, setting: str, row: list[float]) -> str:
    small = _side(row[-1]) < 0
    values = f"{min(row):.1e} to {max(row):.1e}" if len(row) > 1 else f"{row[0]:.1e}"
    return (
        f"the {name} was {values} times the cross-entropy for {len(row)} updates in a row, wanted is "
        f"{LEAST:g} to {MOST:g}: it {'hardly acts' if small else 'outweighs the task'}. "
        f"{'Raise' if small else 'Lower'} {setting}"
    )
