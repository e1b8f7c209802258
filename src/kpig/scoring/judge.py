"""One response held against its test example: the one judge of every prediction. No torch."""

from kpig.records import Example, Gain, Prediction, Task
from kpig.scoring import metrics
from kpig.tasks import constraints, matching


def judge(
    task: Task,
    example: Example,
    response: str,
    *,
    group: str,
    wording: str,
    prompt: str,
    finished: bool = True,
    masked_response: str | None = None,
    gain: Gain | None = None,
) -> Prediction:
    """The response with its exact match, ROUGE-L and violations (docs/method.md, section 7).

    And with the score of the task's metric where that is the user's own. Raises ConfigError where it fails.
    """
    demands = (*task.constraints, *example.constraints)
    broken = constraints.violations(demands, example.input, response, prompt=prompt, finished=finished)
    judged = Prediction(
        task=task.name,
        example=example.id,
        group=group,
        wording=wording,
        prompt=prompt,
        response=response,
        references=example.references,
        finished=finished,
        exact_match=matching.exact_match(response, example.references),
        rouge_l=matching.rouge_l(response, example.references),
        violations=broken,
        num_constraints=len(demands),
        masked_response=masked_response,
        gain=gain,
    )
    return metrics.with_own_score(judged, task.metric)
