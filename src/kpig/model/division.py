"""Work that the processes of a job divide between them, whose tokens count in every process."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from kpig import ranks
from kpig.errors import TrainingError
from kpig.model.ledger import Ledger

T = TypeVar("T")


def divided(ledger: Ledger, sizes: Sequence[int], work: Callable[[list[int]], T]) -> list[T]:
    """What `work` gives in each process of the job, which is told the numbers of the parts that it does.

    `sizes` say how much work each part is. What it gives can be pickled; an error in one process is
    raised in all. The tokens that all parts cost are counted in every process's `ledger`. TrainingError
    where the processes have not planned the same parts.
    """
    own = ranks.mine(sizes)
    if ranks.num_processes() == 1:
        return [work(own)]
    found = ranks.united(lambda: (sizes, *ledger.apart(lambda: work(own))))
    if any(planned != sizes for planned, _, _ in found):
        raise TrainingError(ranks.DIFFERENT)
    ledger.add_all(spent for _, _, spent in found)
    return [value for _, value, _ in found]
