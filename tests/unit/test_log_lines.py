"""The lines of a log file."""

import gzip

import pytest

from jobs.log_lines import LogError, LogLines

pytestmark = pytest.mark.unit

LINES = [b'{"a":1}', b"", b"with a return\r", b"\xff\xfe", b"x" * 100_000]


def log(tmp_path, content, name):
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


@pytest.mark.parametrize("name", ["log.jsonl", "log.jsonl.gz"])
@pytest.mark.parametrize("end", [b"\n", b""])
def test_lines_come_byte_for_byte_and_the_file_is_read_to_its_end(tmp_path, name, end):
    path = log(tmp_path, b"\n".join(LINES) + end, name)
    lines = LogLines(path)
    assert lines.read_bytes == 0
    assert list(lines) == LINES
    assert lines.read_bytes == lines.size_bytes == path.stat().st_size


def test_an_empty_file_has_no_lines(tmp_path):
    assert list(LogLines(log(tmp_path, b"", "log.jsonl"))) == []


@pytest.mark.parametrize(
    ("name", "kind"), [("log.jsonl", "gzip: name"), ("log.gz", "not gzip: name")]
)
def test_a_name_that_belies_the_content_is_refused(tmp_path, name, kind):
    path = tmp_path / name
    path.write_bytes(b"{}\n" if name.endswith(".gz") else gzip.compress(b"{}\n"))
    with pytest.raises(LogError, match=f"the content is {kind}"):
        LogLines(path)


def test_damage_is_told_when_it_is_met(tmp_path):
    path = log(tmp_path, b"".join(b"%d\n" % n for n in range(20_000)), "log.gz")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(LogError, match=r"log\.gz"):
        list(LogLines(path))


def test_a_file_that_is_not_there_and_a_folder_are_refused(tmp_path):
    with pytest.raises(LogError, match="No such file"):
        LogLines(tmp_path / "nothing.jsonl")
    with pytest.raises(LogError, match="directory"):
        LogLines(tmp_path)
