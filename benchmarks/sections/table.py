"""Tables of arms that take turns: medians, and how many times as long as each it takes the others."""

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

Arm = Callable[[], Mapping[str, float]]


def tell(title: str, found: Mapping[str, Sequence[Mapping[str, float]]]) -> None:
    """Print medians of every arm, and how many times as long as each it takes the others."""
    print(f"## {title}\n")
    names = list(found)
    print("| | seconds | tokens computed | loss | " + " | ".join(f"/ {name}" for name in names) + " |")
    print("|---" * (4 + len(names)) + "|")
    for name, results in found.items():
        ratios = [paired(results, found[other]) for other in names]
        figures = (f"{ratio:.2f}" for ratio in ratios)
        low, high = (pick(one["seconds"] for one in results) for pick in (min, max))
        print(
            f"| {name} | {median(results, 'seconds'):.2f} ({low:.2f} to {high:.2f}) | "
            f"{median(results, 'computed'):.0f} | {median(results, 'loss'):.4f} | {' | '.join(figures)} |"
        )
    print(flush=True)


def paired(one: Sequence[Mapping[str, float]], other: Sequence[Mapping[str, float]]) -> float:
    """The median of the ratios of seconds, turn by turn."""
    return statistics.median(a["seconds"] / b["seconds"] for a, b in zip(one, other, strict=True))


def median(results: Iterable[Mapping[str, float]], name: str) -> float:
    """Of one figure over all turns."""
    return statistics.median(one[name] for one in results)


def described(result: Mapping[str, float]) -> str:
    """One turn in words."""
    return ", ".join(f"{name} {value:.4g}" for name, value in result.items())


def in_turn(title: str, arms: Mapping[str, Arm], rounds: int) -> Mapping[str, Sequence[Mapping[str, float]]]:
    """The table of arms that take turns, and what is in it."""
    found: dict[str, list[Mapping[str, float]]] = {name: [] for name in arms}
    for number in range(rounds + 1):
        for name, arm in arms.items():
            start = time.process_time()
            result = arm()
            if number:
                found[name].append({"seconds": time.process_time() - start} | result)
    tell(title, found)
    return found
