"""1,000 mutated bitstreams, and that the fuzzer would see what it looks for."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from interfero.errors import BitstreamError
from tools import fuzz_bitstreams as fuzz

COUNT = 1000
STREAM = b"whole"


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What the fuzzer's own child process reports."""
    result = tmp_path_factory.mktemp("fuzz") / "tiny.json"
    command = [sys.executable, "-W", "ignore", fuzz.__file__, "--codecs", "tiny"]
    command += ["--worker", str(result), "--count", str(COUNT)]
    subprocess.run(command, check=True, cwd=Path(fuzz.__file__).parents[1])
    return json.loads(result.read_text())


def test_only_refusals_and_pictures_come_out(found):
    assert found["failures"] == []
    assert sum(found["outcomes"].values()) == COUNT


def test_memory_is_bounded(found):
    # One of the pictures that the headers claim would take more than this.
    assert found["memory_mb"] < 64


def test_the_streams_reach_every_line_of_defence(found):
    reached = {key.split("|")[1] for key in found["outcomes"]}
    assert reached >= {*fuzz.REASONS.values(), "header", fuzz.PICTURE}
    for mutation in fuzz.MUTATIONS:
        assert any(key.startswith(f"{mutation.__name__}|") for key in found["outcomes"])


@pytest.fixture(scope="module")
def corpus():
    return fuzz.prepare("tiny")[1]


@pytest.mark.parametrize("mutation", fuzz.MUTATIONS, ids=lambda m: m.__name__)
def test_a_number_repeats_its_stream(mutation, corpus):
    streams = [mutation(np.random.default_rng((0, i)), corpus) for i in range(5, 20)]
    assert mutation(np.random.default_rng((0, 5)), corpus) == streams[0]
    assert len(set(streams)) > 1


def test_an_untouched_stream_is_a_picture(corpus):
    size = fuzz.parse_stream(corpus.own[0])
    pixels = np.zeros((size.height, size.width, 3), np.uint8)
    assert fuzz.outcome(lambda data: pixels, fuzz.spliced, corpus.own[0]) == fuzz.PICTURE


@pytest.mark.parametrize("error", [KeyError("x"), MemoryError(), RuntimeError("native")])
def test_any_other_error_is_a_failure(error):
    def decode(data):
        raise error

    assert fuzz.outcome(decode, fuzz.flip, STREAM).startswith(f"FAILED: {type(error).__name__}")


def test_a_refusal_is_none():
    def decode(data):
        raise BitstreamError("bitstream is damaged: its checksum does not match")

    assert fuzz.outcome(decode, fuzz.flip, STREAM) == "checksum"


def test_a_picture_of_another_size_or_kind_is_a_failure(corpus):
    data = corpus.own[0]
    size = fuzz.parse_stream(data)
    for pixels in (
        np.zeros((size.height, size.width + 1, 3), np.uint8),
        np.zeros((size.height, size.width, 3), np.float32),
    ):
        assert fuzz.outcome(lambda data, p=pixels: p, fuzz.spliced, data).startswith("FAILED")


def test_a_damaged_stream_that_passes_is_a_failure(corpus):
    size = fuzz.parse_stream(corpus.own[0])
    pixels = np.zeros((size.height, size.width, 3), np.uint8)
    assert fuzz.outcome(lambda data: pixels, fuzz.flip, corpus.own[0]).startswith("FAILED")


def ended(tmp_path: Path, script: str) -> str | None:
    note = tmp_path / "at"
    note.write_text("17")
    return fuzz.supervise([sys.executable, "-c", script], note)


def test_a_crash_is_a_failure_and_says_on_which_stream(tmp_path):
    crash = f"import os; os.kill(os.getpid(), {int(signal.SIGSEGV)})"
    report = ended(tmp_path, crash)
    assert report is not None
    assert report.startswith("FAILED: crash or hang (signal 11) on stream 17")
    assert ended(tmp_path, "pass") is None


def test_a_hang_is_ended_by_the_watchdog(tmp_path):
    # As the worker arms it; the wait holds no lock that the watchdog would need.
    hang = "import faulthandler, time; faulthandler.dump_traceback_later(0.2, exit=True); time.sleep(99)"
    report = ended(tmp_path, hang)
    assert report is not None
    assert "stream 17" in report
    assert "Timeout" in report


def test_too_much_memory_is_a_failure(capsys):
    result = {"outcomes": {}, "failures": [], "memory_mb": 300.0}
    assert fuzz.report("tiny", dict(result), 400) == []
    assert "memory grew by 300 MB" in fuzz.report("tiny", dict(result), 256)[0]
    assert "1 failures" in capsys.readouterr().out
