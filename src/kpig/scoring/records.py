"""What scores say, as frozen records: of a task, a group of tasks, a step, a run, an evaluation.

The records are final, so that a type checker knows what `group and group.gain` is: a gain or None.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, final

from pydantic import BeforeValidator, Field

from kpig.records import HELD_OUT, LATER, SEEN

Count = Annotated[int, Field(ge=0, le=2**63 - 1)]


@final
@dataclass(frozen=True)
class NewWording:
    """A task's scores under wordings never trained on, in percent."""

    p_score: float
    v_score: float


@final
@dataclass(frozen=True)
class GroupNewWording:
    """Unweighted means over the `num_tasks` tasks that have wordings never trained on.

    `wording_gap` is what these tasks lose in P-score against their seed wording, in points.
    """

    p_score: float
    v_score: float
    wording_gap: float
    num_tasks: Count


@final
@dataclass(frozen=True)
class TaskScore:
    """What the predictions of one task say. None where nothing could be measured.

    `p_score`, `v_score`, `violations` (by kind: share of responses that break at least one constraint of
    it; "undecided", where it occurs: of those with a constraint that got no verdict in its time) and
    `half_listening` are in percent, `gain` in [-1, 1], `log_gain` in nats per token. `n` counts
    predictions; `coverage` tells whether the task has constraints that a program can check; `group` is
    SEEN, LATER or HELD_OUT.
    """

    p_score: float
    metric: str
    v_score: float
    violations: Mapping[str, float]
    half_listening: float | None
    gain: float | None
    log_gain: float | None
    n: Count
    coverage: bool
    group: str
    new_wording: NewWording | None = None


@final
@dataclass(frozen=True)
class GroupScore:
    """Unweighted means over the tasks that have the value; units as in TaskScore.

    `constrained` is the percentage of tasks that have constraints that a program can check.
    """

    p_score: float
    v_score: float
    violations: Mapping[str, float]
    half_listening: float | None
    gain: float | None
    log_gain: float | None
    constrained: float
    num_tasks: Count
    new_wording: GroupNewWording | None = None


Group = Annotated[GroupScore | None, BeforeValidator(lambda value: None if value == {} else value)]
"""The means over a group of tasks, None where the group has none; a file says {} then."""


@final
@dataclass(frozen=True)
class StepScores:
    """The scores after one step of the stream; step 0 is the untuned model.

    `seen` are the tasks learned so far, `later` those evaluated before they are learned.
    """

    step: Count
    seen: Group
    later: Group
    held_out: Group
    tasks: Mapping[str, TaskScore]

    def group(self, name: str) -> GroupScore | None:
        """The group called SEEN, LATER or HELD_OUT."""
        return {SEEN: self.seen, LATER: self.later, HELD_OUT: self.held_out}[name]


@final
@dataclass(frozen=True)
class Final:
    """The scores after the last step, and the transfer between steps (docs/method.md, section 7).

    Transfer is in points of P-score, None where it is not defined, over the steps that were measured;
    `average` is None where not every step's tasks were scored at the end.
    """

    seen: Group
    held_out: Group
    average: float | None = None
    backward_transfer: float | None = None
    forgetting: float | None = None
    forward_transfer: float | None = None

    def group(self, name: str) -> GroupScore | None:
        """The group called SEEN or HELD_OUT."""
        return {SEEN: self.seen, HELD_OUT: self.held_out}[name]


@final
@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a run has spent: the totals of its ledger, in updates, tokens, examples, requests and seconds.

    Tokens are those that the model was shown; `computed_tokens` those that passes computed, padding included
    and shared ones once, None where the run did not count them.
    """

    updates: Count
    train_tokens: Count
    forward_tokens: Count
    computed_tokens: Count | None = None
    replayed_examples: Count
    llm_requests: Count = 0
    gain_seconds: float
    train_seconds: float
    eval_seconds: float


@final
@dataclass(frozen=True)
class RunScores:
    """The scores of a finished run.

    `steps` begin with the untuned model. `matrix[t][i - 1]` is `R[t][i]`, the P-score on step i's tasks after
    learning step t, None where it was not measured. `shortened_examples` counts examples whose input was cut
    to fit, None where the run did not count them; `notes` are sentences about what the run could not do.
    """

    method: str
    seed: int
    scorer: str
    steps: Annotated[tuple[StepScores, ...], Field(min_length=1)]
    final: Final
    matrix: Annotated[tuple[tuple[float | None, ...], ...], Field(min_length=1)]
    cost: Cost
    shortened_examples: Count | None = None
    notes: tuple[str, ...] = ()


@final
@dataclass(frozen=True)
class Coverage:
    """How many of the test examples have a prediction; `missing` counts the others by task."""

    num_scored: Count
    num_examples: Count
    missing: Mapping[str, Count]


@final
@dataclass(frozen=True)
class Evaluation:
    """The scores of one evaluation outside a run: `all` over the tasks, and by task.

    `seen` and `held_out` are the means over tasks of either kind where both were asked.
    `model` says in words what was evaluated; `coverage` is known where a file of predictions was.
    """

    model: str
    scorer: str
    all: GroupScore
    tasks: Mapping[str, TaskScore]
    coverage: Coverage | None = None
    seen: Group = None
    held_out: Group = None
