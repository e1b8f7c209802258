"""A file of answers that is whole or not there, and the part beside it in which they gather. No torch."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from kpig.errors import RunError
from kpig.files import as_line, publish_parts, writing

ENDING = ".part"
"""Of the part's name, after the name of the file."""

HEAD = "answers_of"
"""The key of a part's first line: the digest of what decides the answers."""


class AnswerFile:
    """Answers by the number of their prompt, each on the disk as soon as it is there.

    A part that a stop has left is gone on with where its digest is the same, and begun anew where it is not.
    What a kill cut short in it is dropped. Raises RunError for a file in the part's place that is none.
    """

    def __init__(self, path: Path, digest: str, say: Callable[[str], None]):
        self.path, self.part = path, path.with_name(path.name + ENDING)
        self._places: dict[int, int] = {}
        head = as_line({HEAD: digest}).encode()
        with writing(self.part):
            if self.part.is_file() and self._is_ours() and not self._is_of(head):
                say(f"{self.part}: holds answers of another model, or to other prompts; begun anew")
                self.part.unlink()
            if not self.part.is_file():
                publish_parts(self.part, (head,))
            self._read()

    def __contains__(self, number: int) -> bool:
        return number in self._places

    def __len__(self) -> int:
        return len(self._places)

    def add(self, answers: Mapping[int, Any]) -> None:
        """Keep a batch of answers, JSON values; RunError where the disk does not take them."""
        with writing(self.part), self.part.open("ab") as file:
            for number, answer in answers.items():
                place = file.tell()
                file.write(as_line([number, answer]).encode())
                self._places[number] = place
            file.flush()
            os.fsync(file.fileno())

    def read(self, numbers: Iterable[int]) -> Iterator[Any]:
        """The answers to these prompts, one after the other; none but one is held."""
        with self.part.open("rb") as file:
            for number in numbers:
                file.seek(self._places[number])
                yield json.loads(file.readline())[1]

    def publish(self, lines: Iterable[str]) -> None:
        """Put the whole file in its place, and remove the part."""
        publish_parts(self.path, (line.encode() for line in lines))
        self.part.unlink()

    def _is_ours(self) -> bool:
        """Whether the part is one, and not a file of the user's: RunError for that."""
        with self.part.open("rb") as file:
            first = file.readline()
        if first.startswith(f'{{"{HEAD}": '.encode()):
            return True
        raise RunError(
            f"{self.part} is there already and holds no answers that kpig predict gathers; give --out "
            "another file, or move it away"
        )

    def _is_of(self, head: bytes) -> bool:
        with self.part.open("rb") as file:
            return file.readline() == head

    def _read(self) -> None:
        """Find every answer again, and cut off what was not written to its end."""
        with self.part.open("rb+") as file:
            file.readline()
            while line := self._whole(file):
                self._places[line[0]] = line[1]
            file.truncate()

    @staticmethod
    def _whole(file: BinaryIO) -> tuple[int, int] | None:
        """The number and the place of the next answer, None at the end or where a line is not whole."""
        place = file.tell()
        line = file.readline()
        try:
            number, _ = json.loads(line)
        except (ValueError, TypeError):
            number = None
        if type(number) is int and line.endswith(b"\n"):
            return number, place
        file.seek(place)
        return None


def left(batches: Iterable[Sequence[int]], answers: AnswerFile) -> list[Sequence[int]]:
    """The batches of which an answer is missing: each is answered as a whole, as the first time."""
    return [batch for batch in batches if not all(number in answers for number in batch)]
