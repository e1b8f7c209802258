"""What numbers mean that tell of texts, before any answer is scored."""

from collections.abc import Mapping

from kpig.scoring.meanings.meaning import LOWER, Meaning

TEXTS: Mapping[str, Meaning] = {
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
