"""Answers kept by content, so that an interrupted job goes on and no prompt is paid twice.

One line of JSON per answer, appended to `answers.jsonl`: its key, the model's name, the text, its cost.
Neither prompts nor keys of a service nor headers are written.
"""

import hashlib
import json
import os
import threading
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from kpig.errors import RunError
from kpig.llm.exchange import Answer, Request

FILE_NAME = "answers.jsonl"


def content_key(model: str, request: Request) -> str:
    """SHA-256 over the canonical JSON of a model's name and everything in the request, as hex."""
    content = {"model": model, **asdict(request)}
    text = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


class AnswerCache:
    """Answers by key, in a folder, or in memory only without one. Safe with threads and with kills.

    A line is appended by one write and synced; one cut short by a kill is passed over when reading.
    Raises RunError when the folder cannot be read or written.
    """

    def __init__(self, folder: Path | None = None):
        self.path = None if folder is None else Path(folder) / FILE_NAME
        self._lock = threading.Lock()
        self._answers: dict[str, Answer] = {}
        if self.path is not None:
            self._open()

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: str) -> Answer | None:
        """The kept answer, marked as cached."""
        with self._lock:
            return self._answers.get(key)

    def put(self, key: str, model: str, answer: Answer) -> None:
        """Keep an answer; the first one under a key stays."""
        with self._lock:
            if key in self._answers:
                return
            if self.path is not None:
                fields = asdict(answer)
                del fields["cached"]
                self._append(json.dumps({"key": key, "model": model, **fields}) + "\n")
            self._answers[key] = replace(answer, cached=True)

    def _open(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            content = self.path.read_bytes() if self.path.exists() else b""
        except OSError as error:
            raise _disk_error(self.path, "read", error) from error
        for line in content.split(b"\n"):
            self._take(line)
        if content and not content.endswith(b"\n"):
            self._append("\n")

    def _take(self, line: bytes) -> None:
        try:
            entry = json.loads(line)
            key, answer = entry["key"], _answer(entry)
        except (ValueError, KeyError, TypeError, RecursionError):
            return
        self._answers.setdefault(key, answer)

    def _append(self, text: str) -> None:
        data = text.encode("ascii")
        try:
            handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                if os.write(handle, data) != len(data):
                    raise OSError("the disk took only a part of the line")
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise _disk_error(self.path, "written", error) from error


def _answer(entry: dict[str, Any]) -> Answer:
    text, prompt_tokens, completion_tokens = (
        entry[name] for name in ("text", "prompt_tokens", "completion_tokens")
    )
    if not isinstance(text, str) or not isinstance(entry["key"], str):
        raise TypeError("not an answer")
    return Answer(text, int(prompt_tokens), int(completion_tokens), True, bool(entry.get("truncated")))


def _disk_error(path: Path, verb: str, error: OSError) -> RunError:
    return RunError(
        f"{path}: cannot be {verb} ({error.strerror or error}); give another cache folder or mend this one"
    )
