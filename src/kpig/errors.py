"""The errors a user can meet; each says what was given, what was expected and what to do."""


class KpigError(Exception):
    """Something the user can mend. The command line prints it and exits with `exit_code`."""

    exit_code = 1


class UsageError(KpigError):
    """A command that cannot mean anything as it was typed."""

    exit_code = 2


class ConfigError(KpigError):
    """A configuration that cannot be run; the message lists every problem found."""


class DataError(KpigError):
    """A task file, or a task in it, that cannot be used."""


class ModelError(KpigError):
    """A model folder that cannot be loaded or does not fit the job."""


class RunError(KpigError):
    """A run folder that cannot be used as asked."""


class TrainingError(KpigError):
    """Training that must not go on, such as a loss that is not finite."""
