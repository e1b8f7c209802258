"""Tables are read line by line: the records are those of the whole text, whatever ends a line."""

import csv
import gzip
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpig.errors import DataError
from kpig.tasks import stream
from kpig.tasks.readers.files import BYTE_ORDER_MARK, UNPACKED_LIMIT, read_records

TEXTS = st.text('ab,"\r\n\t;é\u2028\x0b\x85 ', max_size=60)


def records_of(lines):
    try:
        return list(csv.reader(lines, strict=True))
    except csv.Error as error:
        return str(error)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


@settings(deadline=None, max_examples=300)
@given(text=TEXTS, mark=st.sampled_from(["", BYTE_ORDER_MARK]), name=st.sampled_from(["t.csv", "t.csv.gz"]))
def test_the_records_are_those_of_the_whole_text(folder, text, mark, name):
    path, content = folder / name, f"{mark}{text}".encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    assert "".join(read_records(path)) == text
    assert records_of(read_records(path)) == records_of(io.StringIO(text, newline=""))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_table_may_end_its_lines_as_any_system_does(tmp_path, end):
    rows = ["instruction,input,output", *(f"Name it.,plum {n},blue {n}" for n in range(6))]
    (tmp_path / "t.csv").write_bytes(end.join(["", *rows]).lstrip(end).encode())
    (task,) = stream.load(tmp_path / "t.csv").tasks
    assert {one.input for one in (*task.train, *task.test)} == {f"plum {n}" for n in range(6)}


@pytest.mark.parametrize("place", [0, 9, 70_000])
def test_the_byte_that_is_no_utf8_is_named(tmp_path, place):
    path = tmp_path / "t.csv"
    path.write_bytes((b"plum,\n" * 20_000)[:place] + b"\xff\n")
    with pytest.raises(DataError, match=f"byte {place + 1} is not UTF-8"):
        list(read_records(path))


def test_a_packed_table_of_more_than_is_allowed_is_refused_before_it_is_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("kpig.tasks.readers.files.ANY_UNPACKED_BYTES", 1 << 16)
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"a" * (4 << 20)))
    longest = 0
    with pytest.raises(DataError, match=UNPACKED_LIMIT):
        for line in read_records(path):
            longest = max(longest, len(line))
    assert longest == 0


@pytest.mark.parametrize("blank", ["", "\n\n", " \r\n"])
def test_json_in_a_table_is_told_whatever_stands_before_it(tmp_path, blank):
    (tmp_path / "t.csv").write_text(f'{blank}{{"a": 1}}\n', newline="")
    with pytest.raises(DataError, match="looks like JSON"):
        stream.load(tmp_path / "t.csv")
