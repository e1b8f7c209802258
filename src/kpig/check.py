"""Everything that can be found wrong with a config before a model loads. No torch."""

from collections.abc import Sequence
from pathlib import Path

from kpig import config as configuration
from kpig import stream
from kpig.config import RunConfig
from kpig.errors import ConfigError, KpigError
from kpig.methods import why_missing
from kpig.model_folder import check_folder, is_adapter, resolve
from kpig.records import Stream


def check(path: Path, overrides: Sequence[str] = ()) -> tuple[RunConfig, Stream]:
    """The config and the stream that it describes, when both are sound.

    Raises a KpigError that lists every problem of the config, or else of the model folder and the data.
    """
    config = configuration.load(path, overrides)
    problems = [missing] if (missing := why_missing(config.method.name)) else []
    try:
        folder = resolve(config.model.path)
        check_folder(folder)
        if is_adapter(folder):
            problems.append(f"[model] {folder} is an adapter; train from a whole model")
    except KpigError as error:
        problems.append(f"[model] {error}")
    try:
        found = stream.configured(config)
    except KpigError as error:
        problems.append(f"[stream] {error}")
    if problems:
        raise ConfigError(f"{path}: " + "\n".join(problems))
    return config, found
