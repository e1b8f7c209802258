"""What the scores of the answers mean, with which every step is judged."""

from collections.abc import Mapping

from kpig.scoring.meanings.meaning import HIGHER, LOWER, Meaning

QUALITY: Mapping[str, Meaning] = {
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
        ("half", "half-listening rate", "half-listens"),
    ),
}
