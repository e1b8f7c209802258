"""What the two likelihoods of a gain say together. No torch."""

from kpig.records import Gain


def reading(gain: Gain, high: float = 0.5) -> str:
    """What the two likelihoods say together: the table of docs/method.md, section 4.

    `high` is the mean token probability from which an answer counts as likely. [D]
    """
    if gain.num_annotated == 0:
        return "no key parts"
    if gain.instructed >= high:
        return "half-listens" if gain.masked >= high else "listens"
    return "misled" if gain.masked >= high else "not learned"
