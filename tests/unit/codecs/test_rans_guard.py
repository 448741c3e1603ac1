"""The child process that decodes: whatever happens to it is an error here, and the next one works."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import psutil
import pytest

from interfero.codecs import rans, rans_child, rans_guard
from interfero.codecs.entropy_tables import tables_from_lists
from interfero.errors import BitstreamError, DecoderLostError

TABLES = tables_from_lists([[0, 20000, 40000, 65000, 65536]], [5], [-1])
OTHER = tables_from_lists([[0, 3, 65535, 65536], [0, 1, 65536]], [4, 3], [-1, 50])
COUNT = 400


def rows(count=COUNT):
    return np.zeros(count, np.int32)


def coded(seed=0):
    symbols = np.random.default_rng(seed).integers(-3, 4, COUNT).astype(np.int32)
    return symbols, rans.encode(symbols, rows(), TABLES)


def decode(string, tables=TABLES, open_decoder=rans_guard.open_decoder):
    with open_decoder(string, COUNT, tables) as decoder:
        return decoder(rows()).tolist()


@pytest.fixture(autouse=True)
def _no_child_is_left():
    yield
    rans_guard.end_child()


def test_the_child_decodes_what_was_coded():
    symbols, string = coded()
    assert decode(string) == symbols.tolist()


def test_one_child_decodes_one_string_after_another():
    decode(coded()[1])
    first = rans_guard.child_pid()
    for seed in range(3):
        symbols, string = coded(seed)
        assert decode(string) == symbols.tolist()
    assert rans_guard.child_pid() == first != os.getpid()


def test_a_string_is_decoded_in_pieces():
    symbols, string = coded()
    with rans_guard.open_decoder(string, COUNT, TABLES) as decoder:
        pieces = [decoder(rows(1)), decoder(rows(0)), decoder(rows(COUNT - 1))]
    assert np.concatenate(pieces).tolist() == symbols.tolist()


def test_long_latents_are_asked_for_in_several_requests(monkeypatch):
    monkeypatch.setattr(rans_guard, "SYMBOLS_PER_REQUEST", 7)
    symbols, string = coded()
    assert decode(string) == symbols.tolist()


def test_tables_may_change_between_strings():
    symbols, string = coded()
    for _ in range(2):
        assert decode(string, OTHER) == decode(string, OTHER, rans.open_decoder)
        assert decode(string) == symbols.tolist()


def test_wrong_tables_and_random_strings_decode_as_they_would_here():
    random = np.random.default_rng(0)
    for tables in (TABLES, OTHER):
        for _ in range(20):
            start = int(random.integers(1 << 31, (1 << 63) - 1, dtype=np.int64))
            string = start.to_bytes(8, "little") + random.bytes(4 * int(random.integers(0, 50)))
            # What is decoded from zeros behind the string is the same everywhere.
            assert decode(string, tables) == decode(string, tables, rans.open_decoder)


def test_what_no_coder_made_does_not_reach_the_child():
    with pytest.raises(BitstreamError, match="not from this coder"):
        decode(b"\xff" * 8)
    assert rans_guard.child_pid() is None


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_child_that_dies_between_two_requests_is_an_error_and_is_replaced(how):
    symbols, string = coded()
    with rans_guard.open_decoder(string, COUNT, TABLES) as decoder:
        decoder(rows(10))
        victim = rans_guard.child_pid()
        os.kill(victim, how)
        # The pipe may still take a request; its answer never comes.
        with pytest.raises(BitstreamError, match="brought its decoder down"):
            decoder(rows(10))
    assert not psutil.pid_exists(victim)
    assert decode(string) == symbols.tolist()


def test_a_child_that_was_killed_while_idle_is_replaced_unnoticed():
    symbols, string = coded()
    decode(string)
    victim = psutil.Process(rans_guard.child_pid())
    victim.kill()
    while victim.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert decode(string) == symbols.tolist()
    assert not psutil.pid_exists(victim.pid)


def test_a_child_that_hangs_is_ended(monkeypatch):
    symbols, string = coded()
    decode(string)
    hung = rans_guard.child_pid()
    monkeypatch.setattr(rans_guard, "SECONDS", 0.2)
    os.kill(hung, signal.SIGSTOP)
    with pytest.raises(DecoderLostError, match="no answer in time"):
        decode(string)
    assert not psutil.pid_exists(hung)
    monkeypatch.undo()
    assert decode(string) == symbols.tolist()


def test_an_interrupt_in_between_does_not_mix_up_answers():
    symbols, string = coded()

    def interrupted():
        with rans_guard.open_decoder(string, COUNT, TABLES) as decoder:
            decoder(rows(10))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert decode(string) == symbols.tolist()


def test_the_child_answers_an_error_and_goes_on():
    child = rans_guard.GuardedChild()
    try:
        nothing_open = rans_child.HEAD.pack(rans_child.DECODE, 0, 1, 0) + bytes(4)
        for _ in range(2):
            with pytest.raises(BitstreamError, match="does not decode"):
                child.ask(nothing_open)
    finally:
        child.end()


def test_the_child_has_limits_and_no_torch():
    decode(coded()[1])
    child = psutil.Process(rans_guard.child_pid())
    assert child.rlimit(psutil.RLIMIT_AS)[0] <= rans_child.MEMORY_BYTES
    assert child.rlimit(psutil.RLIMIT_CORE) == (0, 0)
    assert child.memory_info().rss < 64 << 20
    assert not any("torch" in m.path for m in child.memory_maps())
    child.send_signal(signal.SIGINT)
    decode(coded()[1])
    assert rans_guard.child_pid() == child.pid


def test_threads_take_turns():
    failures = []

    def work(seed):
        symbols, string = coded(seed)
        for _ in range(20):
            if decode(string) != symbols.tolist():
                failures.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def checked_child():
    """Decode something, and say who did."""
    symbols, string = coded()
    assert decode(string) == symbols.tolist()
    return rans_guard.child_pid()


def gone(pid, seconds=10):
    """Whether a process ends within some seconds; a zombie has ended."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def in_fork(work):
    """Run `work` in a forked process; its status, and the number it returned, -1 if none."""
    receive, send = os.pipe()
    forked = os.fork()
    if not forked:
        with contextlib.suppress(BaseException):
            os.write(send, str(work(send)).encode())
            os._exit(0)
        os._exit(1)
    os.close(send)
    status = os.waitpid(forked, 0)[1]
    with os.fdopen(receive, "rb") as source:
        return status, int(source.read() or b"-1")


def die_after_decoding(send):
    os.write(send, str(checked_child()).encode())
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("ending", [lambda _: checked_child(), die_after_decoding])
def test_the_child_ends_with_its_parent_however_that_ends(ending):
    status, pid = in_fork(ending)
    assert status == (signal.SIGKILL if ending is die_after_decoding else 0)
    assert pid > 0
    assert gone(pid)


def test_a_forked_process_has_a_child_of_its_own():
    first = checked_child()
    status, second = in_fork(lambda _: checked_child())
    assert status == 0
    assert checked_child() == first != second
    assert gone(second)


def test_a_forked_process_does_not_keep_the_child_of_its_parent():
    first = checked_child()
    forked = os.fork()
    if not forked:
        time.sleep(60)
        os._exit(0)
    try:
        # What is left of the handle when its owner is gone: nobody holds the pipe.
        rans_guard._child._requests.close()
        assert gone(first)
        assert psutil.pid_exists(forked)
    finally:
        os.kill(forked, signal.SIGKILL)
        os.waitpid(forked, 0)


def test_a_fork_while_a_thread_decodes_is_not_stuck():
    with rans_guard.open_decoder(coded()[1], COUNT, TABLES):
        status, pid = in_fork(lambda _: checked_child())
    assert status == 0
    assert gone(pid)


def test_a_daemonic_process_may_start_its_child():
    process = multiprocessing.get_context("fork").Process(target=checked_child, daemon=True)
    process.start()
    process.join(60)
    assert process.exitcode == 0


def test_an_ordinary_end_is_silent_and_leaves_nothing():
    script = """
        import numpy as np
        from interfero.codecs import rans, rans_guard
        from interfero.codecs.entropy_tables import tables_from_lists
        tables = tables_from_lists([[0, 20000, 65536]], [3], [0])
        rows = np.zeros(9, np.int32)
        with rans_guard.open_decoder(rans.encode(rows, rows, tables), 9, tables) as decode:
            assert not decode(rows).any()
        print(rans_guard.child_pid())
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert done.stderr == ""
    assert gone(int(done.stdout))
