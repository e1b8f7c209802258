"""The main job, top to bottom: a stream and a model in, a tuned model and its scores out."""

import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from kpig import ranks
from kpig.config import RunConfig, dump
from kpig.errors import DivergedError, RunError
from kpig.files import as_json, drop_unpublished, refuse_links
from kpig.methods import chosen
from kpig.methods.base import Method, Step
from kpig.model import adapters, identity, loading
from kpig.model.chat import present_moment
from kpig.model.folder import is_adapter, resolve
from kpig.model.learner import Learner, Weights
from kpig.progress import Watcher
from kpig.records import Stream
from kpig.runs import (
    check,
    course,
    disk,
    environment,
    evaluation,
    forecast,
    forgetting,
    kept,
    lock,
    machine,
    restart,
    saved,
    schedule,
    starts,
    tracking,
    unseen,
)
from kpig.runs.course import Course
from kpig.runs.folder import GROWN_AT, TRACKERS, RunDir, begun_at, check_free, check_same_model, open_run
from kpig.runs.lock import Claim
from kpig.runs.machine import choose_device
from kpig.runs.places import told_new
from kpig.runs.voice import Voice
from kpig.scoring import scores
from kpig.scoring.records import RunScores
from kpig.training import checkpoint, loop, notice
from kpig.training.precision import precision


def run(
    config: RunConfig,
    out: str | Path,
    resume: bool = False,
    watch: Watcher | None = None,
    claim: Claim | None = None,
    tasks: Stream | None = None,
    track: Sequence[str] = (),
) -> RunScores:
    """Learn the stream with one method; the scores of the run, which is kept in folder `out`.

    A run that was interrupted goes on with `resume=True`, on CPU to the same bits; where its [train] is
    another one then, the current step is begun anew, which the notes of the scores tell. The folder is
    locked as long as it is written to; `claim` is its lock where the caller holds it already, `tasks` the
    stream of the config where the caller has read it. `track` names trackers that are told of the run as
    well, instead of those of the config (docs/trackers.md). Processes that a launcher has started share the
    work, and the main one writes. Raises a KpigError that says what to do for anything the user can mend,
    BusyError where another process does it.
    """
    ranks.join()
    watch, path = _own(watch), Path(out)
    ranks.by_main(lambda: _settle(path, claim))

    def planned() -> Course:
        plan = course.read(path, chosen.complete(tracking.asked(config, track)), tasks)
        check.require(plan.config, plan.new)
        return plan

    def checked() -> tuple[dict[str, str | None], RunScores | None]:
        check_free(path, plan.config, plan.summary, resume)
        if resume and claim is None and not (path / "stream.json").is_file():
            watch.say(told_new(path))
        model = _same_model(path, plan.config)
        if (path / "scores.json").is_file():
            drop_unpublished(path)
            lock.drop_left(path)
            watch.say(f"{path}: already finished")
            tracking.catch_up(path, plan.config, choose_device(plan.config.train.device), watch, claim)
            return model, scores.read_run(path / "scores.json")
        tracking.wanted(path, plan.config)
        return model, None

    plan = ranks.everywhere(planned)
    ranks.agree(plan.summary["digest"], "the task data")
    model, finished = ranks.by_main(checked)
    if finished is not None:
        return finished

    def opened(ours: Claim, now: dict[str, Any]) -> RunDir:
        check_free(path, plan.config, plan.summary, resume)
        folder = open_run(path, plan.config, plan.summary, now, ours)
        restart.begin(folder, plan.config, now, watch.say)
        return folder

    return _carry_out(path, plan, model, opened, watch, claim)


def extend(
    path: str | Path,
    tasks: str,
    overrides: Sequence[str] = (),
    metrics: Mapping[str, str] | None = None,
    watch: Watcher | None = None,
    forget: bool = False,
    track: Sequence[str] = (),
) -> RunScores:
    """Learn the steps of further task files after a finished run, in its folder; the scores of all steps.

    On a CPU it ends with the bits of a run that had known all steps. `overrides` are `section.key=value`
    for the new steps, `metrics` those of the new tasks, by name or "*"; `track` as in `run`. With `forget`,
    the examples of all tasks that were learned before are deleted from the folder first. From then on the run
    is unfinished until the new steps are learned: `run` with the run's own config.toml and `resume=True` goes
    on. Raises a KpigError that says what to do as `run` does, before anything is written.
    """
    ranks.join()
    watch, path = _own(watch), Path(path)
    ranks.by_main(lambda: _settle(path))

    def planned() -> Course:
        if not (path / "scores.json").is_file():
            raise RunError(f"{path} holds no finished run; only such a run can go on with further steps")
        refuse_links(path, others=path / TRACKERS)
        plan = course.extended(path, tasks, [*overrides, *tracking.overrides(track)], metrics)
        check.require(plan.config, plan.new)
        tracking.wanted(path, plan.config)
        return plan

    told = ranks.by_main(lambda: _text(path / "stream.json"))
    plan = ranks.everywhere(planned)
    ranks.agree(plan.summary["digest"], "the task data")
    num_learned = plan.grown[-1].num_steps
    learned = plan.tasks.steps[:num_learned]
    if forget:
        plan = course.forgetful(plan, forgetting.sentence(learned))
    model = ranks.by_main(lambda: _same_model(path, plan.config))

    def opened(ours: Claim, now: dict[str, Any]) -> RunDir:
        if _text(path / "stream.json") != told or not (path / "scores.json").is_file():
            raise RunError(
                f"{path} went on in another process meanwhile, and nothing was changed by this one; see what "
                "it has learned (kpig report), then give the command again"
            )
        drop_unpublished(path)
        folder = RunDir(path, ours)
        saved.require(folder.step(num_learned))
        course.keep_missing(path, plan)
        if forget:
            forgetting.forget(folder, plan.config, learned)
            watch.say(f"note: {forgetting.sentence(learned)}")
        first = {GROWN_AT: num_learned + 1}
        files = {"stream.json": as_json(plan.summary), "environment.json": as_json({**now, **first})}
        starts.renew(folder, {**files, "config.toml": dump(plan.config)})
        folder.log({"step": first[GROWN_AT], "grown": len(plan.new.steps)})
        return folder

    return _carry_out(path, plan, model, opened, watch)


def _text(path: Path) -> str:
    """What a file says; "" where it is not there."""
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _own(watch: Watcher | None) -> Watcher:
    """Who is told of the job: of several processes that share it, only the main one has somebody."""
    return watch if watch is not None and ranks.is_main() else Watcher()


def _settle(path: Path, claim: Claim | None = None) -> None:
    """See that nobody does the run in a folder, and finish what a kill has left half started there."""
    if claim is None:
        lock.check_idle(path)
    starts.settle(path, claim)
    forgetting.settle(path, claim)


def _same_model(path: Path, config: RunConfig) -> dict[str, str | None]:
    """The digests of the model that a config names; RunError where the run in a folder began with another."""
    found = identity.digests(resolve(config.model.path))
    check_same_model(path, config.model.path, found)
    return found


def _carry_out(
    path: Path,
    plan: Course,
    model: Mapping[str, str | None],
    opened: Callable[[Claim, dict[str, Any]], RunDir],
    watch: Watcher,
    claim: Claim | None = None,
) -> RunScores:
    """Load what learns, then every step of the plan that is not done; the folder is `opened` in between.

    The main process opens it and writes there; the others read.
    """
    config = plan.config
    clock = ranks.by_main(lambda: begun_at(path) or present_moment())
    method, steps, learner = ranks.everywhere(lambda: _loaded(plan, clock))
    if _divides(config):
        learner.network.shard(machine.require(config), method.needs_initial)
    cut = unseen.cut(learner.encoder, plan.new, config)
    told = cut.sentences(learner.encoder.max_length, config.evaluate.max_new_tokens)
    fresh = config.model.adapter == "lora" and not is_adapter(resolve(config.model.path))
    if fresh and not config.model.lora_targets:
        told += adapters.left_out(learner.model)
    with ExitStack() as held:
        folder = RunDir(path)

        def begin() -> None:
            nonlocal folder
            ours = claim or held.enter_context(lock.held(path))
            arithmetic = precision(config.train, learner.device, learner.network.num_weights)
            folder = opened(ours, environment.of_run(config, model, clock, arithmetic))
            starts.count(folder, ranks.num_started())
            device = choose_device(config.train.device)
            folder = held.enter_context(tracking.followed(folder, config, device, watch))

        ranks.by_main(begin)
        return _stream(folder, learner, method, steps, plan, cut.num_inputs, told, watch)


def _loaded(plan: Course, clock: str) -> tuple[Method, list[Step], Learner]:
    """The method, the steps that it makes of the stream, and who learns them."""
    config = plan.config
    method = chosen.create(config)
    steps = schedule.steps(config, method, plan.tasks, [one.num_steps for one in plan.grown])
    device = machine.require(config)
    keeps = method.needs_initial
    if _divides(config):
        device, keeps = "cpu", False
    learner = loading.load(config.model, keeps, device, config.seed, clock)
    if not learner.parameters():
        raise RunError(
            f"model {config.model.path} has no trainable weights; give a whole model, or train an adapter on "
            'with model.adapter = "lora"'
        )
    learner.network.recompute(config.train.gradient_checkpointing)
    return method, steps, learner


def _divides(config: RunConfig) -> bool:
    """Whether the weights are divided, once each process has read them to its host's memory."""
    return config.train.shard and ranks.num_started() > 1


def _stream(
    folder: RunDir,
    learner: Learner,
    method: Method,
    steps: Sequence[Step],
    plan: Course,
    num_cut: int,
    told: Sequence[str],
    watch: Watcher,
) -> RunScores:
    """Every step that is not done yet, and the scores of all; `told` are further cautions."""
    config, tasks = plan.config, plan.tasks
    cautions = [*check.cautions(config, plan.new), *told]
    for caution in cautions:
        watch.say(f"note: {caution}")
    num_answers = functools.partial(evaluation.num_answers, config.evaluate)
    expected = ranks.by_main(lambda: forecast.of_run(folder, config, method, steps, tasks, num_answers))
    voice = Voice(watch, folder, config, steps, expected)
    if not _is_done(folder, 0):
        evaluation.of_untuned(folder, learner, steps, tasks, config, voice)
    for step in steps:
        is_kept = bool(plan.grown) and step.number <= plan.grown[-1].num_steps
        _learn(folder, learner, method, step, steps, tasks, config, voice, is_kept)
        ranks.by_main(lambda: folder.drop_models(disk.num_kept(config, len(steps))))
    notes = method.notes()
    for note in notes:
        watch.say(note)

    def finished() -> RunScores:
        before = plan.grown[-1].notes if plan.grown else ()
        every = list(dict.fromkeys([*before, *cautions, *restart.notes(folder), *notes]))
        result = _run_scores(folder, config, steps, _all_cut(plan, num_cut), every)
        folder.check_ours()
        scores.write_run(folder.path / "scores.json", result)
        return result

    return ranks.by_main(finished)


def _all_cut(plan: Course, num_cut: int) -> int | None:
    """How many examples were shortened in all starts; None where one of them did not count."""
    before = [one.shortened_examples for one in plan.grown[-1:]]
    return None if None in before else num_cut + sum(one or 0 for one in before)


def _is_done(folder: RunDir, number: int) -> bool:
    """Whether a step is done, as the main process sees it, which writes."""
    return ranks.by_main(lambda: folder.is_done(number))


def _learn(
    folder: RunDir,
    learner: Learner,
    method: Method,
    step: Step,
    plan: Sequence[Step],
    tasks: Stream,
    config: RunConfig,
    voice: Voice,
    is_kept: bool,
) -> None:
    """Train one step, save the model, score it; or take over what an earlier session finished.

    `is_kept`: it is a step of an earlier start, whose training data the run has no more.
    """
    step_dir = folder.step(step.number)
    if _is_done(folder, step.number):
        ranks.by_main(lambda: folder.drop_checkpoints(step.number))
        if step.number == len(plan) or not _is_done(folder, step.number + 1):
            ranks.everywhere(lambda: saved.take_over(step_dir, learner, method, not is_kept))
        return

    def keep(weights: Weights | None) -> None:
        folder.check_ours()
        saved.write(step_dir, learner, weights, method)
        kept.write(step_dir, step.tasks)

    _train(folder, learner, method, step, config, voice)
    ranks.by_main(functools.partial(keep, learner.network.saved_weights()))
    groups = forecast.groups(step.number, plan, tasks, config.evaluate)
    evaluation.after_step(folder, step.number, learner, groups, config, voice)
    ranks.by_main(lambda: folder.finish(step.number))


def _train(
    folder: RunDir, learner: Learner, method: Method, step: Step, config: RunConfig, voice: Voice
) -> None:
    """The updates of a step, from its newest checkpoint on. DivergedError that names the way on."""
    step_dir = folder.step(step.number)
    begun = ranks.everywhere(lambda: checkpoint.newest(step_dir, voice.say))
    ranks.agree(begun.update if begun else 0, "the update that they go on from")
    try:
        with voice.training(step, begun.update if begun else 0, learner), notice.held_back():
            loop.fit_step(
                learner,
                method,
                step,
                config,
                log=lambda event: ranks.by_main(lambda: _heed(event, folder, step, learner, voice)),
                save=lambda state: ranks.by_main(lambda: _keep(state, folder, step_dir)),
                resume_from=begun,
            )
    except DivergedError as error:
        raise DivergedError(
            f"{error} The steps before it are kept. Learn step {step.number} anew with another [train], such "
            f"as a lower rate:\n  {restart.command(folder.path, config)}"
        ) from error


def _keep(state: checkpoint.Checkpoint, folder: RunDir, step_dir: Path) -> None:
    """Publish a checkpoint, unless the run is another process's by now."""
    folder.check_ours()
    checkpoint.publish(state, step_dir)


def _heed(event: dict[str, Any], folder: RunDir, step: Step, learner: Learner, voice: Voice) -> None:
    """Write down what the loop has to tell, and show it."""
    folder.log(event)
    if "warning" in event:
        voice.say(f"step {event['step']}: {event['warning']}")
    elif "note" in event:
        voice.say(f"step {event['step']} {event['note']}")
    else:
        voice.updated(step, event, learner)


def _run_scores(
    folder: RunDir, config: RunConfig, plan: Sequence[Step], num_cut: int | None, notes: Sequence[str]
) -> RunScores:
    found = [scores.read_step(folder.step(number) / "scores.json") for number in range(len(plan) + 1)]
    steps, cost = [step for step, _ in found], found[-1][1]
    learned = [[task.name for task in step.tasks] for step in plan]
    return scores.run_scores(config.method.name, config.seed, steps, learned, cost, num_cut, notes)
