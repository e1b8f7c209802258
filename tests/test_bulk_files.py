"""Files larger than memory should be asked to hold: read line by line, with limits that say what to set."""

import gzip
import json
import tracemalloc

import pytest

from kpig.errors import ConfigError, DataError
from kpig.tasks import readers, stream
from kpig.tasks.problems import Problems
from kpig.tasks.readers import files

LINE = {"instruction": "Name the colour.", "input": "a plum", "output": "blue"}


def packed(path, content):
    with gzip.open(path, "wb", compresslevel=9) as file:
        for piece in content:
            file.write(piece)
    return path


@pytest.fixture
def small_limits(monkeypatch):
    """A hundredth of the real limits, so that tests of them take a second."""
    monkeypatch.setattr(files, "ANY_UNPACKED_BYTES", 640_000)
    monkeypatch.setattr(files, "MAX_LINE_BYTES", 700_000)


def peak_of(action):
    tracemalloc.start()
    try:
        action()
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak


def test_a_packed_file_of_one_endless_line_is_refused_without_unpacking_it(tmp_path):
    path = packed(tmp_path / "bomb.jsonl.gz", [b"a" * 2**20] * 200)

    def read():
        with pytest.raises(
            DataError, match=r"line 1 is longer than 64 MiB; expected one JSON object per line"
        ):
            list(files.read_lines(path))

    assert peak_of(read) < 3 * files.MAX_LINE_BYTES


@pytest.mark.parametrize("line", [b"\n", b"   \n", json.dumps(LINE).encode() + b"\n"])
def test_a_packed_file_that_holds_fifty_times_its_size_is_refused(tmp_path, monkeypatch, line):
    monkeypatch.setattr(files, "ANY_UNPACKED_BYTES", 64_000)
    path = packed(tmp_path / "bomb.jsonl.gz", [line * (2**20 // len(line))])
    with pytest.raises(DataError, match=r"more than \d+ MiB when unpacked.*KPIG_MAX_UNPACKED_GIB"):
        stream.load(path)


def test_the_limit_can_be_raised_and_is_checked_itself(tmp_path, small_limits, monkeypatch):
    path = packed(tmp_path / "same.jsonl.gz", [json.dumps(LINE).encode() + b"\n"] * 20_000)
    with pytest.raises(DataError, match="when unpacked"):
        list(files.read_lines(path))
    monkeypatch.setenv("KPIG_MAX_UNPACKED_GIB", "1")
    assert sum(1 for _ in files.read_lines(path)) == 20_000
    for wrong in ("much", "-1", "1.5", "9" * 5_000):
        monkeypatch.setenv("KPIG_MAX_UNPACKED_GIB", wrong)
        with pytest.raises(ConfigError, match="expected a whole number of GiB"):
            list(files.read_lines(path))


def test_a_text_that_is_packed_is_bounded_too(tmp_path, small_limits):
    with pytest.raises(DataError, match="when unpacked"):
        files.read_text(packed(tmp_path / "bomb.json.gz", [b" " * 2**20]))


def test_lines_are_read_one_at_a_time(tmp_path):
    path = tmp_path / "many.jsonl"
    path.write_text("".join(json.dumps(LINE | {"id": str(n)}) + "\n" for n in range(60_000)))
    assert peak_of(lambda: sum(1 for _ in files.read_lines(path))) < path.stat().st_size / 10


def test_examples_take_little_more_than_their_text(tmp_path):
    path, count = tmp_path / "many.jsonl", 20_000
    long = "Read the text with care, then say in one word which of the colours it speaks of. " * 4
    rows = ({"instruction": long, "input": f"plum {n}", "output": "blue", "task": "t"} for n in range(count))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert peak_of(lambda: readers.read(path, "jsonl", Problems())) < 1_000 * count


def test_line_numbers_and_places_of_bytes_are_those_of_the_file(tmp_path):
    path = tmp_path / "mixed.jsonl"
    path.write_bytes("\ufeff".encode() + b'{"a": 1}\r\n\n  \n{"b": "\xc3\xa9\xe2\x80\xa8"}\n{"c": 3}')
    assert list(files.read_lines(path)) == [(1, '{"a": 1}\r'), (4, '{"b": "é\u2028"}'), (5, '{"c": 3}')]
    path.write_bytes("\ufeff".encode() + b"{}\n\n{\xff}\n")
    with pytest.raises(DataError, match="byte 9 is not UTF-8"):
        list(files.read_lines(path))
    with pytest.raises(DataError, match="byte 9 is not UTF-8"):
        files.read_text(path)


def test_a_cut_packed_file_is_refused_after_the_lines_that_are_whole(tmp_path):
    path = packed(
        tmp_path / "cut.jsonl.gz", [json.dumps(LINE | {"id": n}).encode() + b"\n" for n in range(9)]
    )
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(DataError, match="cannot be unpacked"):
        stream.load(path)
