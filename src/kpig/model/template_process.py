"""The program that renders chat templates for `kpig.model.chat`, in a process of its own that can be killed.

It reads requests and writes answers, one line of JSON each. A template is a stranger's program: it may loop
for ever, or double a text until memory is full, inside C code that no exception and no thread can stop. The
limits are therefore the kernel's, on this process: CPU seconds for each request, and memory in all. CPU
seconds, so that the verdict does not depend on what else the machine is doing.
"""

import io
import json
import os
import random
import signal
import sys
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

PAGES = Path("/proc/self/statm")
"""Where Linux tells the memory of this process, in pages, that of all its mappings first."""


def main() -> None:
    """Answer until the other end is closed."""
    seconds, memory = int(sys.argv[1]), int(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = io.TextIOWrapper(os.fdopen(os.dup(sys.stdout.fileno()), "wb"), encoding="ascii")
    sys.stdout = sys.stderr
    os.environ["USE_TORCH"] = "0"
    from transformers.utils import chat_template_utils

    _limit_memory(memory)
    for line in sys.stdin:
        answer = _answer(chat_template_utils, json.loads(line), seconds)
        answers.write(json.dumps(answer, allow_nan=False) + "\n")
        answers.flush()


def _answer(utils: Any, request: dict[str, Any], seconds: int) -> dict[str, Any]:
    """The texts of rendered conversations, or what went wrong with the first that is none, in words."""
    texts = []
    for messages in request["conversations"]:
        _limit_seconds(seconds)
        rendered = _rendered(utils, request, messages)
        if "error" in rendered:
            return rendered
        texts.append(rendered["text"])
    return {"texts": texts}


def _rendered(utils: Any, request: dict[str, Any], messages: list[dict[str, str]]) -> dict[str, str]:
    """The text of one conversation, or what went wrong, in words."""
    random.seed(0)
    try:
        utils.datetime = _standing_at(request["clock"])
        (text,), _ = utils.render_jinja_template(
            conversations=[messages],
            chat_template=request["template"],
            add_generation_prompt=request["add_generation_prompt"],
            **request["values"],
        )
        if len(text) > request["most_added"] + sum(len(said) for one in messages for said in one.values()):
            return {"error": f"it writes {len(text):,} characters"}
        text.encode()  # half of a surrogate pair is told here, where no tokenizer has met it yet
        return {"text": text}
    except MemoryError:
        return {"error": "it needs too much memory"}
    except Exception as error:  # whatever a stranger's program may raise is told, not passed on
        said = " ".join(str(error).split())[:300]
        return {"error": said if said and _speaks_for_itself(error) else f"{type(error).__name__}: {said}"}


def _speaks_for_itself(error: Exception) -> bool:
    """Whether an error is jinja's own, whose words need no name of a class."""
    return type(error).__module__.startswith("jinja2")


@lru_cache(maxsize=1)
def _standing_at(clock: str) -> type[datetime]:
    """A `datetime` whose `now` never moves: `strftime_now` of transformers asks the one in its module."""
    moment = datetime.fromisoformat(clock)

    class Standing(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return moment

    return Standing


def _limit_seconds(seconds: int) -> None:
    """CPU seconds from now, after which the kernel ends this process; on Windows the parent's watch does."""
    try:
        import resource
    except ImportError:
        return
    limit = int(sum(os.times()[:2])) + 1 + seconds
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _limit_memory(more: int) -> None:
    """Bytes beyond those of now, where Linux tells and holds them."""
    try:
        import resource

        now = int(PAGES.read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (now + more, hard))
    except (ImportError, OSError, ValueError):
        return


if __name__ == "__main__":
    main()
