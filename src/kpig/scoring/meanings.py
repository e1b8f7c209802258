"""What every number means that a table prints: for `kpig explain`, the docs, and the legends of tables.

The texts stand here once. `find` knows a number by its name and by the heading that a table gives it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from kpig.errors import UsageError, nearest

HIGHER, LOWER = "higher", "lower"


READINGS = {
    "listens": "likely with the key parts and unlikely without them: it depends on what is asked",
    "half-listens": "likely either way: the general look and the input are enough for the answer",
    "not learned": "unlikely either way: never learned, or forgotten",
    "misled": "likely only without the key parts: they lead it astray",
    "no key parts": "nothing was masked, so that nothing can be read; find some with kpig annotate",
}
"""What the two likelihoods say together; an answer is likely from a mean token probability of 0.5."""


@dataclass(frozen=True)
class Meaning:
    """One number: its title, one clause for legends, what it says, formula, range, direction and source.

    `better` is HIGHER, LOWER, or "" where neither is. `names` are other names and headings of it, without
    the group of tasks.
    """

    title: str
    brief: str
    says: str
    formula: str
    range: str
    better: str
    source: str
    names: tuple[str, ...] = ()


MEANINGS: Mapping[str, Meaning] = MappingProxyType(
    {
        "p_score": Meaning(
            "P-score",
            "score on the task, 0 to 100",
            "How good the answers are. Each answer is held against its best reference, by the metric of the "
            "task. Tasks count alike, whatever their number of examples.",
            "P(task) = 100 · mean over test examples of the metric; P(group) = mean over its tasks",
            "0 to 100",
            HIGHER,
            "docs/method.md, section 7; the name from He et al. 2025, the formula ours",
            ("P", "P held", "P-score now", "before", "P untuned"),
        ),
        "new_wording": Meaning(
            "P-score in a new wording",
            "P-score under wordings never trained on",
            "The P-score where the instruction is worded as no training example was. It tells learning the "
            "task from learning a text by heart.",
            "P-score, over the tasks that have such wordings",
            "0 to 100",
            HIGHER,
            "docs/method.md, section 7",
            ("p new", "p new wording", "p-score in a new wording", "new wording"),
        ),
        "wording_gap": Meaning(
            "Wording gap",
            "P-score in the task's own wording minus that in wordings never trained on",
            "What is lost when the same task is worded anew. Near 0, the model reads the instruction and not "
            "its wording.",
            "P-score in the own wording − P-score in new wordings, over the tasks that have both",
            "-100 to 100",
            LOWER,
            "docs/method.md, section 7",
            ("gap", "wording gap seen own minus new wording"),
        ),
        "v_score": Meaning(
            "V-score",
            "% of responses that break a rule of the instruction",
            "How often the model does not do what it was told: a wrong label, format or length, a missing "
            "word. Only rules that a program can check count. Empty answers, those that were cut off and "
            "copies of the prompt count for every task.",
            "V(task) = 100 · share of responses that break one rule or more; V(group) = mean over its tasks",
            "0 to 100",
            LOWER,
            "docs/method.md, section 7; docs/constraints.md; the name from He et al. 2025, the formula ours",
            ("v", "v held"),
        ),
        "broken_rules": Meaning(
            "Broken rules by kind",
            "% of responses that break a rule of that kind",
            "Which demand is not met: out_of_scope (no permitted answer), wrong_format, wrong_length, "
            "missing_content, or degenerate (empty, cut off, a copy of the prompt). A response may break "
            "several kinds. undecided had no verdict, and breaks nothing.",
            "100 · share of responses that break a rule of the kind",
            "0 to 100",
            LOWER,
            "docs/method.md, section 7; docs/constraints.md",
            ("out_of_scope", "wrong_format", "wrong_length", "missing_content", "degenerate", "undecided"),
        ),
        "constrained": Meaning(
            "Tasks with rules a program can check, %",
            "% of the tasks that have rules a program can check",
            "How far the V-score can see. Where it is low, a low V-score says little.",
            "100 · tasks with one constraint or more / tasks",
            "0 to 100",
            "",
            "docs/method.md, section 7",
            ("tasks with rules a program can check",),
        ),
        "half_listening": Meaning(
            "Half-listening %",
            "% of answers that do not change when the key parts are masked",
            "How often the model gives the same answer without having been told what to do. It then goes by "
            "the look of instruction and input.",
            "100 · share of test examples whose greedy answer is the same under the masked instruction",
            "0 to 100",
            LOWER,
            "docs/method.md, section 7",
            ("half", "half-listening rate"),
        ),
        "gain": Meaning(
            "Key-part gain",
            "fall of the answer's probability when the key parts are masked, -1 to 1",
            "How much likelier the right answer becomes when the key parts can be read. Near 0 the model "
            "answers without them, or does not know the answer either way: read it beside p(y given I).",
            "g = mean over response tokens of p(y | I, x) − p(y | M(I), x); M(I) has its key parts masked",
            "-1 to 1",
            HIGHER,
            "docs/method.md, section 4",
            ("mean gain", "prob gain", "prob gain ± s.e."),
        ),
        "log_gain": Meaning(
            "Log gain",
            "gain in nats per response token",
            "The gain in nats: the pointwise conditional mutual information of key parts and response, for "
            "each token. Rare tokens weigh more than in the gain.",
            "g = mean over response tokens of log p(y | I, x) − log p(y | M(I), x)",
            "any number, in nats per token",
            HIGHER,
            "docs/method.md, section 4",
            ("log gain ± s.e.", "mean log gain", "mean log gain nats per token"),
        ),
        "instructed": Meaning(
            "p(y given I)",
            "mean probability of the reference's tokens under the instruction",
            "How likely the right answer is to the model under the whole instruction.",
            "mean over response tokens of p(y | I, x)",
            "0 to 1",
            HIGHER,
            "docs/method.md, section 4",
        ),
        "masked": Meaning(
            "p(y given M(I))",
            "mean probability of the reference's tokens under the masked instruction",
            "How likely the right answer is to the model when the key parts are hidden.",
            "mean over response tokens of p(y | M(I), x)",
            "0 to 1",
            "",
            "docs/method.md, section 4",
        ),
        "reading": Meaning(
            "Reading",
            "what both likelihoods say together",
            ". ".join(f"{name}: {what}" for name, what in READINGS.items()) + ".",
            "likely means a mean token probability of 0.5 or more",
            "one of five words",
            "",
            "docs/method.md, section 4",
        ),
        "average": Meaning(
            "Average P-score over the steps",
            "P-score over the tasks of all steps, each step counting the same",
            "What the model can do at the end, over all that it was taught.",
            "mean over i of R[T][i]; R[t][i]: P-score on the tasks of step i after step t of T",
            "0 to 100",
            HIGHER,
            "docs/method.md, section 7",
            ("average", "AR", "Average P-score over the steps (AR)"),
        ),
        "forgetting": Meaning(
            "Forgetting",
            "points of P-score lost between a step's best and the end",
            "How much of what was learned is gone at the end.",
            "mean over i < T of (max over t from 1 to T of R[t][i]) − R[T][i]",
            "0 to 100",
            LOWER,
            "docs/method.md, section 7; variants in the literature differ",
            ("for- get", "forget"),
        ),
        "backward_transfer": Meaning(
            "Backward transfer",
            "what later steps gave to earlier ones, in points",
            "Below 0, learning new tasks has cost old ones. Above 0 it has helped them.",
            "mean over i < T of R[T][i] − R[i][i]",
            "-100 to 100",
            HIGHER,
            "docs/method.md, section 7; variants in the literature differ",
            ("bwt", "Backward transfer (BWT)"),
        ),
        "forward_transfer": Meaning(
            "Forward transfer",
            "what earlier steps gave to later ones, in points",
            "How much better tasks are done before they are learned, thanks to those learned before.",
            "mean over i > 1 of R[i−1][i] − R[0][i]; R[0] is the untuned model",
            "-100 to 100",
            HIGHER,
            "docs/method.md, section 7; variants in the literature differ",
        ),
        "next_step": Meaning(
            "P-score on the next step",
            "how well a step's tasks are done just before they are learned",
            "Forward transfer as CITB has it: no baseline is taken off.",
            "mean over i > 1 of R[i−1][i]",
            "0 to 100",
            HIGHER,
            "CITB (Zhang et al., 2023): FWT; docs/citb.md",
            ("fwt", "P-score on the next step (FWT without baseline)", "next step"),
        ),
        "average_rank": Meaning(
            "Average rank",
            "place among the methods, mean over P-scores, seeds and orders",
            "1 would be the best everywhere. It says who is ahead, not by how much.",
            "mean of the ranks by P seen and P held-out in every seed and order that all methods have",
            "1 to the number of methods",
            LOWER,
            "docs/method.md, section 8",
        ),
        "interval": Meaning(
            "Mean and 95 % interval",
            "the mean over runs, and where it likely lies",
            "The interval says how far the mean would move with other seeds and orders. Two methods whose "
            "intervals overlap widely are not told apart.",
            "percentile bootstrap of the mean over runs",
            "in the units of the score",
            "",
            "docs/method.md, section 8; Efron 1979",
            ("mean", "low", "high", "95 % interval", "difference_low", "difference_high"),
        ),
        "runs": Meaning(
            "Runs",
            "runs that a mean is over, each with a seed and a stream order",
            "With few runs nothing is proved: n pairs give no p below 2/2^n.",
            "a count; of a difference, the runs that both methods share in seed and order",
            "1 or more",
            "",
            "docs/method.md, section 8",
            ("n", "pairs"),
        ),
        "difference": Meaning(
            "Difference from the reference",
            "mean difference over shared seeds and orders",
            "What a method has more, or less, than the reference on the same seeds and orders.",
            "mean over shared seeds and orders of score − score of the reference",
            "in the units of the score",
            "",
            "docs/method.md, section 8",
        ),
        "change": Meaning(
            "Change of P-score",
            "points won or lost since the step before, or since the untuned model",
            "What a task has gained or lost, with its standard error over the test examples.",
            "P-score now − P-score before",
            "-100 to 100",
            HIGHER,
            "docs/ship.md",
            ("change ± s.e.",),
        ),
        "standard_error": Meaning(
            "± standard error",
            "how far a number moves with other examples",
            "About two thirds of such measurements lie within one standard error of the true value.",
            "standard deviation over examples / √(number of examples); of pairs, of their differences",
            "0 or more, in the units of the score",
            LOWER,
            "docs/ship.md",
            ("s.e.", "± s.e."),
        ),
        "p_value": Meaning(
            "p",
            "the chance of a difference as large as this if there were none",
            "Small values speak for a real difference. It is not the chance that the difference is real, and "
            "says nothing about its size.",
            "share of sign flips of the paired differences that are as extreme, all flips up to 14 pairs; "
            "two-sided between methods, one-sided (a drop) in kpig gate",
            "above 0, to 1",
            "",
            "docs/method.md, section 8; paired permutation test, Phipson and Smyth 2010",
            ("p value",),
        ),
        "p_adjusted": Meaning(
            "p (Holm)",
            "p, corrected for the number of tests",
            "With many tests some p is small by chance. Where nothing differs, the smallest of these is "
            "below 0.05 in at most one table of twenty.",
            "p times the tests that are left, from the smallest p on, and never falling",
            "above 0, to 1",
            "",
            "docs/method.md, section 8; Holm 1979; docs/ship.md for the gate",
            ("p holm", "adjusted p"),
        ),
        "accuracy": Meaning(
            "Exact match",
            "whether the text is that of a reference, case and punctuation aside",
            "For tasks with a closed set of answers.",
            "1 where the normalised texts are the same, else 0",
            "0 or 1",
            HIGHER,
            "docs/method.md, section 7; Super-NaturalInstructions",
            ("exact match", "exact_match"),
        ),
        "exact": Meaning(
            "Exact text",
            "whether the text is that of a reference, case and punctuation included",
            "For closed sets of answers that differ in case or punctuation alone.",
            "1 where the texts are the same but for white space at their ends, else 0",
            "0 or 1",
            HIGHER,
            "docs/method.md, section 7",
        ),
        "rougeL": Meaning(
            "ROUGE-L",
            "longest common sequence of words with a reference; reads ASCII only",
            "For free text: how many words are the same in the same order.",
            "F-measure of the longest common subsequence of stemmed words",
            "0 to 1",
            HIGHER,
            "docs/method.md, section 7; Lin 2004, Google's rouge_score",
            ("rouge-l", "rouge_l"),
        ),
        "json": Meaning(
            "JSON fields",
            "F1 over the fields of a JSON document",
            "For answers in JSON: which fields have the right value. 0 where the answer is no JSON.",
            "F1 of the pairs of path and value",
            "0 to 1",
            HIGHER,
            "docs/method.md, section 7",
        ),
        "number": Meaning(
            "Last number",
            "whether the last number is the right one, by value",
            "For answers that end in a number.",
            "1 where the last number of the answer, as it may be read, equals that of a reference, else 0",
            "0 or 1",
            HIGHER,
            "docs/method.md, section 7",
        ),
        "token_f1": Meaning(
            "Token F1",
            "F1 over words in any order, in any script",
            "For free text in scripts that ROUGE-L cannot read.",
            "F1 of the words of answer and reference",
            "0 to 1",
            HIGHER,
            "docs/method.md, section 7",
        ),
        "chrf": Meaning(
            "chrF",
            "F-score over sequences of characters, in any script",
            "For translations and languages with many forms of a word.",
            "chrF of sacrebleu",
            "0 to 1",
            HIGHER,
            "docs/method.md, section 7; Popović 2015",
        ),
        "metric": Meaning(
            "Metric",
            "which metric the P-score of a task is the mean of",
            "A P-score of exact matches and one of ROUGE-L do not compare. Each metric has an entry here.",
            "stated by the data or the config, else chosen by the references",
            "a name",
            "",
            "docs/method.md, section 7",
        ),
        "examples": Meaning(
            "Examples",
            "test examples that a number is over",
            "With few examples a score moves much by chance.",
            "a count",
            "0 or more",
            "",
            "docs/data.md",
            ("probes",),
        ),
        "updates": Meaning(
            "Updates",
            "moves of the optimizer",
            "Methods are compared at an equal number of them, and at equal computing.",
            "a count",
            "0 or more",
            "",
            "docs/method.md, section 8",
            ("up- dates",),
        ),
        "train_tokens": Meaning(
            "Train tokens",
            "tokens trained on: forward and backward",
            "The larger part of what a method costs. Padding is not counted.",
            "a count; equal computing counts train tokens + forward tokens / 3",
            "0 or more",
            "",
            "docs/method.md, section 8",
        ),
        "forward_tokens": Meaning(
            "Forward-only tokens",
            "tokens only read: forward alone",
            "What measuring, references and written texts cost while training. Evaluation is not in it.",
            "a count; equal computing counts train tokens + forward tokens / 3",
            "0 or more",
            "",
            "docs/method.md, section 8",
            ("fwd tokens", "forward tokens"),
        ),
        "computing": Meaning(
            "Computing, tokens",
            "what a run spends on learning, in tokens trained on",
            "A token that is only read costs about a third of one that is trained on.",
            "train tokens + forward tokens / 3",
            "0 or more",
            "",
            "docs/method.md, section 8",
        ),
        "computed_tokens": Meaning(
            "Tokens computed",
            "tokens that passes computed: padding too, and shared ones once",
            "What the machine did, beside what the model was shown. Below the other counts where examples "
            "share rows, above them where rows are padded.",
            "a count over all passes of training, those without a gradient too",
            "0 or more",
            "",
            "docs/method.md, section 8",
            ("tokens computed, shared ones once",),
        ),
        "replayed_examples": Meaning(
            "Replayed examples",
            "examples of past tasks that were trained on again",
            "Part of the budget that a comparison holds equal.",
            "a count",
            "0 or more",
            "",
            "docs/method.md, section 5",
        ),
        "train_seconds": Meaning(
            "Training time",
            "time of training, evaluation left out",
            "It depends on the machine and on what else it did. Tokens compare better.",
            "the sum over all steps",
            "0 or more, in seconds or minutes as the heading says",
            "",
            "docs/method.md, section 8",
            ("training minutes", "training seconds", "train seconds", "min", "seconds"),
        ),
        "gain_seconds": Meaning(
            "Time of measuring gain",
            "part of the training time that measures gain",
            "What choosing and weighting by gain costs, inside the training time.",
            "the sum over all measurements",
            "0 or more, in seconds",
            "",
            "docs/method.md, section 5",
            ("of which measuring gain seconds", "gain seconds"),
        ),
        "eval_seconds": Meaning(
            "Time of evaluation",
            "time of answering and scoring after every step",
            "It is no part of a method's cost.",
            "the sum over all steps",
            "0 or more, in seconds",
            "",
            "docs/method.md, section 8",
            ("evaluation seconds",),
        ),
        "llm_requests": Meaning(
            "LLM requests",
            "requests to another text model",
            "What methods that write texts asked of a model other than the learner, cached answers included.",
            "a count",
            "0 or more",
            "",
            "docs/baselines.md",
        ),
        "shortened_examples": Meaning(
            "Examples whose input was shortened",
            "examples cut to fit model.max_length",
            "Where there are many, raise model.max_length: the model never saw the whole input.",
            "a count",
            "0 or more",
            LOWER,
            "docs/method.md, section 2",
        ),
        "share_of_text": Meaning(
            "Share of the text",
            "% of an instruction that is in key parts",
            "Above 80 % masking leaves little of the instruction, and commands say so.",
            "100 · characters in key parts / characters, white space left out",
            "0 to 100",
            "",
            "docs/method.md, section 2",
        ),
        "score_entropy": Meaning(
            "Entropy of a score",
            "how far a score spreads in a cluster, in bits",
            "How evenly a score's standardised values fill a histogram. kpig select takes the score of the "
            "highest one in each cluster: it tells the examples apart best.",
            "−Σ share · log2 share over the histogram's 50 bins",
            "0 to log2 50 = 5.64",
            "",
            "docs/baselines.md, adapt_inf; Maharana et al. 2410.10636",
            ("its entropy in bits",),
        ),
    }
)
"""By key, in the order in which `kpig explain` lists them."""

GROUPS = re.compile(r"\b(?:seen|held[- ]out|later)\b")
"""The groups of tasks that a heading names beside the number."""


def find(words: str) -> Meaning | None:
    """The number that a key, a title or a heading of a table stands for; None where there is none.

    A name as it is written goes first, because P is a score and p is a chance.
    """
    for same in (str, _bare):
        for key, one in MEANINGS.items():
            if same(words) in {same(name) for name in (key, one.title, *one.names)}:
                return one
    return None


def explained(words: str) -> Meaning:
    """As `find`, for what a user typed; UsageError with the nearest name where there is none."""
    if found := find(words):
        return found
    names = [name for key, one in MEANINGS.items() for name in (key, one.title, *one.names)]
    near = nearest(words, names)
    hint = f"; did you mean {near!r}?" if near else ""
    raise UsageError(f"no table prints {words!r:.80}{hint} (kpig explain lists them all)")


def legend(headings: Mapping[str, str]) -> str:
    """A sentence for each heading of a table, from the number's key: "V: % of ..., lower is better."."""
    return " ".join(f"{heading}: {_clause(MEANINGS[key])}." for heading, key in headings.items())


def _clause(one: Meaning) -> str:
    return f"{one.brief}, {one.better} is better" if one.better else one.brief


def _bare(heading: str) -> str:
    """The words of a heading, in small letters, without the group of tasks."""
    return re.sub(r"\W+", " ", GROUPS.sub(" ", heading.lower().replace("_", " "))).strip()
