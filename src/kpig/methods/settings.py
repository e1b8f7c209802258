"""The settings of each method: the tables below [method] in a config. No torch."""

from typing import Annotated, Literal

from pydantic import Field

from kpig.config.section import Count, CountOrAll, Section, Share, Weight


class KpigSection(Section):
    """KPIG (docs/method.md, sections 4 to 6)."""

    selection: Literal["uniform", "lowest", "proportional"] = Field(
        "uniform",
        description="the M tasks to replay from: in every update others, all equally likely; those of lowest signal; "
        "in every update others, the lower their signal the likelier",
    )
    signal: Literal["gain", "gain_drop"] = Field(
        "gain", description="the gain itself, or how far it has fallen"
    )
    gain_unit: Literal["prob", "log"] = Field("prob", description="probability gain, or log gain in nats")
    num_tasks: Count = Field(8, description="tasks replayed at a time (M)")
    examples_per_task: Count = Field(50, description="examples of each in the replay pool (N)")
    refresh: CountOrAll = Field(
        50, description="updates between gain measurements; 0: only when a step begins"
    )
    num_probes: Count = Field(16, description="probe examples per task for its gain")
    floor: Share = Field(
        0.3, description="proportional: share of the chance spread evenly over all seen tasks"
    )
    temperature: Annotated[float, Field(gt=0)] = Field(
        0.1, description="proportional: sharpness of the preference"
    )
    twin_weight: Annotated[float, Field(ge=0)] = Field(
        1.0,
        description="λ, weight of the masked-twin term; 0 leaves it out, and about two thirds of an update's tokens",
    )
    weighting: Literal["gain", "none"] = Field("gain", description="scale the twin term by 1 - gain, or not")
    reference: Literal["initial", "previous"] = Field(
        "initial", description="the masked twin is held to the starting model, or to that of the step's start"
    )


class PretrainSection(Section):
    """Training from random weights (`kpig pretrain`)."""

    reading_weight: Annotated[float, Field(ge=0)] = Field(
        0.3, description="weight of an input token's cross-entropy, where a response token's is 1"
    )


class L2Section(Section):
    """Penalty on the distance to the weights after the previous step (CITB)."""

    weight: Weight = Field(0.01, description="λ; the penalty is λ Σ (θ - θ*)²")


class EwcSection(Section):
    """Elastic weight consolidation (Kirkpatrick et al., 2017), in three published variants."""

    variant: Literal["citb", "trace", "running"] = Field(
        "trace",
        description="Fisher of the last step only, summed over the steps, or its mean over them",
    )
    weight: Weight | Literal["published"] = Field(
        "published", description="λ; 'published': the variant's 0.01, 200 (½ · 400) or 2500 (½ · 5000)"
    )
    num_examples: Count = Field(64, description="training examples of a step that estimate its Fisher")


class LwfSection(Section):
    """Learning without forgetting (Li & Hoiem, 2016)."""

    weight: Weight = Field(1.0, description="weight of the distillation term")
    temperature: Annotated[float, Field(gt=0)] = Field(2.0, description="softens both distributions")


class PeriodicReplaySection(Section):
    """A whole batch of past examples every few updates."""

    every: Count = Field(8, description="updates between batches of past examples (k)")


class KmeansReplaySection(Section):
    """Keep the examples nearest to the k-means centroids of the prompts' embeddings (SSR code)."""

    clusters: Count = Field(20, description="centroids per task (k)")


class DynainstSection(Section):
    """DynaInst (Mok et al., ACL 2023)."""

    entropy_weight: Weight = Field(0.01, description="weight of the pull towards outputs of maximum entropy")
    num_tasks: Count = Field(8, description="tasks replayed at a time")
    refresh: CountOrAll = Field(
        50,
        description="updates between measurements of uncertainty, a forward pass over all of memory; 0: once a step",
    )


class DynosaurSection(Section):
    """Replay tasks with the most diverse instructions (Yin et al., EMNLP 2023)."""

    num_tasks: Count = Field(8, description="tasks replayed at a time")


class InsclSection(Section):
    """InsCL (Wang et al., NAACL 2024)."""

    cost: Literal["cosine", "euclidean"] = Field(
        "cosine", description="distance between two instructions' vectors, as optimal transport counts it"
    )


class DareSection(Section):
    """DARE (Yu et al., 2023): drop and rescale what tuning changed."""

    drop: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.2, description="probability that an entry is dropped (p)"
    )
    reference: Literal["previous", "initial"] = Field(
        "previous",
        description="what the change is counted from: the weights at the step's start, or the starting model",
    )


class LmCocktailSection(Section):
    """LM-Cocktail (Xiao et al., 2023): a weighted mean of tuned, starting and earlier weights."""

    temperature: Annotated[float, Field(gt=0)] = Field(5.0, description="τ in softmax(-loss / τ)")
    num_examples: Count = Field(5, description="examples that the losses are measured on, per task")
    tuned_share: Share | Literal["softmax"] = Field(
        0.5, description="share of the tuned weights, the rest by loss; 'softmax': all of them by loss"
    )
    max_peers: Annotated[int, Field(ge=0)] = Field(
        4, description="earlier steps that count, the newest; each costs a copy of all weights"
    )


class OLoraSection(Section):
    """O-LoRA (Wang et al., EMNLP Findings 2023); each step gets lora_rank // steps."""

    orthogonality: Weight = Field(0.5, description="λ₁, weight of the overlap with earlier subspaces")
    norm: Weight = Field(0.0, description="λ₂, weight of the norm of the new matrices")


class MiguSection(Section):
    """MIGU (Du et al., 2024): update only output units of large magnitude."""

    threshold: Share = Field(0.7, description="share of the output units of a layer that stay as they are")


class AGemSection(Section):
    """A-GEM (Chaudhry et al., ICLR 2019)."""

    num_examples: CountOrAll = Field(
        0, description="examples from memory whose loss must not rise; 0: as many as replay would draw"
    )


class WriterSection(Section):
    """Who writes texts for a method before it trains on them. API keys come from the environment only."""

    writer: str = Field(
        "learner",
        min_length=1,
        description="'learner': the starting model; else a local model's folder, or a chat model's name on a server",
    )
    base_url: str = Field("", description="an OpenAI-compatible server; empty: OPENAI_BASE_URL")
    key_variable: str = Field(
        "OPENAI_API_KEY", description="environment variable with the API key; empty: none"
    )
    cache: str = Field(".kpig-cache", min_length=1, description="folder of answers already paid for")
    max_requests: CountOrAll = Field(0, description="stop after so many requests; 0: no limit")


class SsrSection(WriterSection):
    """Self-synthesized rehearsal (Huang et al., ACL 2024)."""

    num_demonstrations: Annotated[int, Field(ge=2)] = Field(
        20, description="real examples of a task that the writer is shown, a few at a time; none is replayed"
    )
    shots: Count = Field(2, description="real examples in one prompt")
    num_prompts: Count = Field(
        100, description="prompts per task, each with other examples or in another order"
    )
    max_new_tokens: Count = Field(128, description="tokens of a written text at most")
    similarity: Annotated[float, Field(gt=0, le=1)] = Field(
        0.7, description="ROUGE-L to an accepted input from which on a written input is refused"
    )
    clusters: Count = Field(20, description="k-means clusters that the written examples are picked from")


class RadisSection(WriterSection):
    """RaDis (Wu et al., 2024): rationale distillation."""

    max_new_tokens: Count = Field(64, description="tokens of a rationale at most")
    num_examples: CountOrAll = Field(
        0, description="training examples per task that get a rationale; 0: all of them"
    )
    request: str = Field(
        " Then explain your answer.",
        min_length=1,
        description="what the instruction of an example with a rationale ends with",
    )
    separator: str = Field(
        "\nExplanation: ", min_length=1, description="what stands between response and rationale"
    )
