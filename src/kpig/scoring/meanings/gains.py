"""What key-part gain means, and the likelihoods that it is made of."""

from collections.abc import Mapping

from kpig.scoring.meanings.meaning import HIGHER, Meaning

READINGS = {
    "listens": "likely with the key parts and unlikely without them: it depends on what is asked",
    "half-listens": "likely either way: the general look and the input are enough for the answer",
    "not learned": "unlikely either way: never learned, or forgotten",
    "misled": "likely only without the key parts: they lead it astray",
    "no key parts": "nothing was masked, so that nothing can be read; find some with kpig annotate",
}
"""What the two likelihoods say together; an answer is likely from a mean token probability of 0.5."""

GAINS: Mapping[str, Meaning] = {
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
}
