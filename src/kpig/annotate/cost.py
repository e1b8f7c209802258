"""What finding key parts has cost: tokens and seconds of a model on this machine, tokens of an LLM."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """`forward_tokens` are real tokens without padding; `requests` and `llm_tokens` went over the wire.

    Costs of several instructions add up with `+`.
    """

    forward_tokens: int = 0
    seconds: float = 0.0
    requests: int = 0
    llm_tokens: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.forward_tokens + other.forward_tokens,
            self.seconds + other.seconds,
            self.requests + other.requests,
            self.llm_tokens + other.llm_tokens,
        )
