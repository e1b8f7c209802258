"""A run's evaluations: the untuned model, and what a step has left, asked and written down."""

from collections.abc import Mapping, Sequence

from kpig import ranks
from kpig.config import EvaluateSection, RunConfig
from kpig.methods.base import Step
from kpig.model.learner import Learner
from kpig.records import SEEN, Prediction, Stream, Task
from kpig.runs import forecast, kept, untuned
from kpig.runs.folder import RunDir
from kpig.runs.voice import Voice
from kpig.scoring import answers, predictions, probing, scores
from kpig.scoring.records import Cost


def of_untuned(
    folder: RunDir, learner: Learner, steps: Sequence[Step], tasks: Stream, config: RunConfig, voice: Voice
) -> None:
    """Step 0: ask the model before it learns, or take the answers of a run beside this one that did."""
    groups = forecast.groups(0, steps, tasks, config.evaluate)
    probes = probing.probes(groups, config.evaluate)
    found = untuned.beside(folder, learner, probes, config)
    if found is None:
        after_step(folder, 0, learner, groups, config, voice)
    else:  # only ever in one process
        folder.log({"step": 0, "answers_of": found.run})
        voice.say(f"the untuned model's answers are those of {found.run}, which asked the same of it here")
        _keep(folder, 0, found.answers, groups, learner, voice)

    def finish() -> None:
        kept.write(folder.step(0), tasks.held_out)
        folder.finish(0)

    ranks.by_main(finish)


def after_step(
    folder: RunDir,
    number: int,
    learner: Learner,
    groups: Mapping[str, Sequence[Task]],
    config: RunConfig,
    voice: Voice,
) -> None:
    """Score the groups after a step, and write that down; without any, what the run has cost by then."""
    probes = probing.probes(groups, config.evaluate)
    answered: list[Prediction] = []
    if groups:
        with voice.evaluating(number, answers.num_answers(probes, config.evaluate)) as advance:
            answered = answers.score(learner, probes, config.evaluate, advance)
    ranks.by_main(lambda: _keep(folder, number, answered, groups, learner, voice))


def num_answers(settings: EvaluateSection, task: Task) -> int:
    """How many responses are generated to score a task."""
    return answers.num_answers(probing.probes({SEEN: [task]}, settings), settings)


def _keep(
    folder: RunDir,
    number: int,
    answered: Sequence[Prediction],
    groups: Mapping[str, Sequence[Task]],
    learner: Learner,
    voice: Voice,
) -> None:
    """The scores and the predictions of a step into its folder."""
    result = scores.step_scores(number, answered, [task for members in groups.values() for task in members])
    step_dir = folder.step(number)
    folder.check_ours()
    predictions.write_by_task(step_dir / "predictions", answered)
    scores.write_step(step_dir / "scores.json", result, Cost(**learner.ledger.as_dict()))
    voice.scored(number, result)
