"""Text from language models: one TextBackend over a server, a local model or a script.

    from kpig.llm import Budget, HttpModel, Request, TextBackend, settings_from
    model = HttpModel(settings_from(model="some-model"))
    backend = TextBackend(model, Path("answers"), Budget(max_requests=500))
    outcomes = backend.complete([Request("Name the key parts of: ...")])

Importing this loads neither torch nor openai; both come with the first model that needs them.
"""

from kpig.llm.backend import Source, TextBackend
from kpig.llm.budget import Budget
from kpig.llm.cache import AnswerCache
from kpig.llm.exchange import (
    Answer,
    BudgetError,
    Failure,
    LlmError,
    Progress,
    Request,
    Usage,
)
from kpig.llm.http import HttpModel
from kpig.llm.local import LocalModel, load_local
from kpig.llm.scripted import ScriptedModel
from kpig.llm.settings import HttpSettings, settings_from

__all__ = [
    "Answer",
    "AnswerCache",
    "Budget",
    "BudgetError",
    "Failure",
    "HttpModel",
    "HttpSettings",
    "LlmError",
    "LocalModel",
    "Progress",
    "Request",
    "ScriptedModel",
    "Source",
    "TextBackend",
    "Usage",
    "load_local",
    "settings_from",
]
