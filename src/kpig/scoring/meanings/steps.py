"""What numbers mean that are taken over the steps of a stream: forgetting and transfer."""

from collections.abc import Mapping

from kpig.scoring.meanings.meaning import HIGHER, LOWER, Meaning

STEPS: Mapping[str, Meaning] = {
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
        ("for- get", "forget", "forgets"),
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
}
