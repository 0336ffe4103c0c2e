"""The pool: each item once, exceptions, BLAS's limit, forks, callers in several threads."""

from __future__ import annotations

import gc
import itertools
import os
import subprocess
import sys
import textwrap
import threading
import time
import weakref

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController, threadpool_limits

import minicnn
from minicnn.backend.cpu import threads


@pytest.fixture(autouse=True)
def _as_before():
    number = threads.get_num_threads()
    yield
    threads.set_num_threads(number)


def blas() -> list[int]:
    found = ThreadpoolController().lib_controllers
    return [library.num_threads for library in found if library.user_api == "blas"]


def program(text: str, **environment: str) -> str:
    """What a program of its own prints. A minute is a hang."""
    env = {k: v for k, v in os.environ.items() if not k.endswith("NUM_THREADS")} | environment
    code = textwrap.dedent(text)
    result = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


# ---------------------------------------------------------------- settings


def test_the_number_of_threads():
    minicnn.set_num_threads(3)
    assert minicnn.get_num_threads() == 3
    minicnn.set_num_threads(np.int64(2))
    assert minicnn.get_num_threads() == 2


@pytest.mark.parametrize("bad", [0, -1])
def test_a_number_that_is_not_positive(bad):
    with pytest.raises(ValueError, match=f"set_num_threads: num expects a positive .* got {bad}"):
        minicnn.set_num_threads(bad)


@pytest.mark.parametrize("bad", [1.0, "2", None, True])
def test_what_is_no_number_of_threads(bad):
    before = minicnn.get_num_threads()
    with pytest.raises(TypeError, match="set_num_threads: num expects an integer, got"):
        minicnn.set_num_threads(bad)
    assert minicnn.get_num_threads() == before


@pytest.mark.parametrize(("asked", "number"), [("3", 3), ("5,2", 5), ("0", None), ("x", None)])
def test_the_default_is_the_environments_or_the_cores(asked, number):
    code = "import minicnn; print(minicnn.get_num_threads())"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert int(program(code, OMP_NUM_THREADS=asked)) == (number or cores)


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="processes cannot be tied to cores"
)
def test_the_default_counts_the_cores_that_the_process_may_use():
    code = """
    import os
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    import minicnn
    print(minicnn.get_num_threads())
    """
    assert program(code) == "1"


# ---------------------------------------------------------------- items


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("length", [0, 1, 2, 3, 100])
def test_every_item_is_done_once(count, length):
    threads.set_num_threads(count)
    done: list[int] = []
    for _ in range(20):
        done.clear()
        threads.each(done.append, range(length))
        assert sorted(done) == list(range(length))


def test_several_threads_take_part_and_the_caller_is_one():
    threads.set_num_threads(3)
    together = threading.Barrier(3, timeout=20)  # passes only if three are there at once
    names = set()

    def work(item):
        together.wait()
        names.add(threading.current_thread().name)

    threads.each(work, range(3))
    assert threading.current_thread().name in names
    assert len(names) == 3


def test_little_work_is_the_callers(monkeypatch):
    """On fewer than ALONE numbers; what is not said to be little is shared."""
    monkeypatch.setattr(threads, "ALONE", 1000)
    threads.set_num_threads(2)
    for size, number in ((999, 1), (1000, 2), (None, 2)):
        started = threading.Barrier(number)
        seen = set()

        def note(_, started=started, seen=seen):
            seen.add(threading.get_ident())
            started.wait(10)
            time.sleep(0.02)  # if anybody else is there, the other item is theirs

        options = () if size is None else (size,)
        threads.each(note, range(2), *options)
        assert len(seen) == number


def test_one_thread_is_the_callers():
    threads.set_num_threads(1)
    names = []
    threads.each(lambda item: names.append(threading.current_thread()), range(5))
    assert names == [threading.current_thread()] * 5


def test_pieces_of_pieces_run_where_they_are():
    threads.set_num_threads(2)
    done = []

    def inner(outer):
        here = threading.current_thread()

        def work(item):
            assert threading.current_thread() is here
            done.append((outer, item))

        threads.each(work, range(3))

    threads.each(inner, range(4))
    assert sorted(done) == [(i, j) for i in range(4) for j in range(3)]


def test_without_more_threads_the_caller_does_it_all(monkeypatch):
    def start(self):
        raise RuntimeError("can't start new thread")

    pool = threads._Pool()
    monkeypatch.setattr(threads, "_pool", pool)
    monkeypatch.setattr(threading.Thread, "start", start)
    threads.set_num_threads(3)
    done: list[int] = []
    threads.each(done.append, range(5))
    assert done == list(range(5))
    assert pool._wanted.empty()  # nobody would ever take it


@pytest.mark.parametrize("count", [1, 2])
def test_an_exception_comes_through_and_the_rest_is_left_out(count):
    threads.set_num_threads(count)
    done = []

    def work(item):
        if item == 3:
            raise KeyError("three")
        time.sleep(1e-3)
        done.append(item)

    with pytest.raises(KeyError, match="three"):
        threads.each(work, range(1000))
    assert len(done) < 500
    threads.each(done.append, [2000])  # the pool is as it was
    assert done[-1] == 2000


def test_ctrl_c_just_as_the_last_item_is_done():
    """It comes as an exception of `acquire` that has the lock by then: nobody frees it again."""
    begun, waited_for = threading.Event(), threading.Event()

    class Lock:
        def __init__(self, lock):
            self.lock, self.calls, self.release = lock, 0, lock.release

        def acquire(self):
            waited_for.set()
            self.lock.acquire()
            self.calls += 1
            if self.calls == 1:
                raise KeyboardInterrupt

    def work(item):
        begun.set()
        waited_for.wait(20)

    job = threads._Job(work, range(1))
    job._all_done = Lock(job._all_done)
    helper = threading.Thread(target=job.run)
    helper.start()
    begun.wait(20)
    came = []

    def call():
        try:
            job.finish()
        except KeyboardInterrupt:
            came.append(True)

    caller = threading.Thread(target=call, daemon=True)
    caller.start()
    caller.join(10)
    helper.join(10)
    assert came


def test_ctrl_c_between_two_items_waits_for_those_that_others_are_at(monkeypatch):
    threads.set_num_threads(2)
    here, run = threading.current_thread(), threads._Job.run
    at_work, ended, interrupted = threading.Event(), [], []

    def work(item):
        at_work.set()
        time.sleep(0.1)
        ended.append(item)

    def runs(job):
        if threading.current_thread() is here and not interrupted:
            at_work.wait(20)
            interrupted.append(True)
            raise KeyboardInterrupt
        run(job)

    monkeypatch.setattr(threads._Job, "run", runs)
    with pytest.raises(KeyboardInterrupt):
        threads.each(work, range(50))
    assert ended == [0]


def test_what_was_interrupted_between_two_items_is_not_gone_on_with(monkeypatch):
    threads.set_num_threads(2)
    begun, done, release = [], [], threading.Event()

    def work(item):
        begun.append(item)
        release.wait(20)
        done.append(item)

    def interrupted(self):
        while not begun:
            time.sleep(0.001)
        raise KeyboardInterrupt

    monkeypatch.setattr(threads._Job, "finish", interrupted)
    with pytest.raises(KeyboardInterrupt):
        threads.each(work, range(50))
    release.set()
    while not done:
        time.sleep(0.001)
    time.sleep(0.05)
    assert len(begun) == 1


def test_errstate_holds_in_all_threads():
    threads.set_num_threads(2)
    together = threading.Barrier(2, timeout=20)

    def work(item):
        together.wait()
        np.float32(1e38) * np.float32(1e38)

    with np.errstate(over="ignore"):
        threads.each(work, range(2))
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        threads.each(lambda item: np.float32(1e38) * np.float32(1e38), range(2))


def test_nothing_keeps_the_arrays_alive():
    threads.set_num_threads(2)
    array = np.ones(10)
    gone = weakref.ref(array)
    threads.each(lambda item, array=array: array.sum(), range(10))
    del array
    deadline = time.monotonic() + 10
    while gone() is not None and time.monotonic() < deadline:
        time.sleep(0.001)
    assert gone() is None
    gc.collect()


@pytest.mark.parametrize(
    ("length", "size", "aim"),
    [(1, 10**9, 100), (100, 10, 100), (7, 700, 100), (64, 10**6, 3), (0, 0, 5)],
)
def test_pieces_cover_the_axis_in_order(length, size, aim):
    cut = threads.pieces(length, size, aim)
    assert cut[0].start == 0 and cut[-1].stop == length
    assert all(a.stop == b.start for a, b in itertools.pairwise(cut))
    assert len(cut) == 1 or all(s.stop > s.start for s in cut)
    if 1 < len(cut) < length:
        assert len(cut) % 2 == 0
    number = threads.get_num_threads()
    threads.set_num_threads(number + 5)
    assert threads.pieces(length, size, aim) == cut


# ---------------------------------------------------------------- BLAS


def test_blas_has_one_thread_meanwhile_and_its_own_number_again():
    threads.set_num_threads(2)
    with threadpool_limits(2, user_api="blas"):
        before = blas()
        assert before and max(before) == 2
        seen = []
        threads.each(lambda item: seen.append(blas()), range(4))
        with threads.one_blas_thread, threads.one_blas_thread:
            seen.append(blas())
        assert all(max(numbers) == 1 for numbers in seen)
        assert blas() == before
        with pytest.raises(KeyError):
            threads.each({}.__getitem__, range(4))
        assert blas() == before


def test_any_thread_may_be_the_one_that_limits_blas():
    """Not only the first that ever did, nor only while no other has."""
    threads.set_num_threads(2)
    with threadpool_limits(2, user_api="blas"):  # this thread sets it, and lives on
        seen = []

        def call():
            threads.each(lambda item: seen.append(blas()), range(4))
            seen.append(blas())

        caller = threading.Thread(target=call)
        caller.start()
        caller.join(60)
        assert [max(numbers) for numbers in seen] == [1, 1, 1, 1, 2]


def test_a_blas_that_has_a_number_for_each_thread():
    """On top of OpenMP: the caller's is set and set back, a worker's stays at one."""
    numbers = threading.local()
    switch = lambda: getattr(numbers, "n", 4), lambda n: setattr(numbers, "n", n)
    blas = threads._Blas()
    blas._shared, blas._own = [], [switch]
    seen = []

    def work():
        with blas:
            seen.append(switch[0]())
            with blas:
                seen.append(switch[0]())
            seen.append(switch[0]())
        seen.append(switch[0]())

    for thread in (threading.Thread(target=work), threading.Thread(target=work)):
        thread.start()
        thread.join(60)
    assert seen == [1, 1, 1, 4] * 2
    assert switch[0]() == 4
    blas.limit_worker()
    assert switch[0]() == 1


@pytest.mark.parametrize("kind", ["_shared", "_own"])
@pytest.mark.parametrize("call", range(4))
def test_ctrl_c_while_blas_is_limited_or_set_back_loses_no_number(kind, call):
    """It may come as soon as a library's function returns: there are two of them."""
    numbers, calls, interrupt = {"a": 4, "b": 3}, itertools.count(), True

    def change(name, number):
        numbers[name] = number
        if interrupt and next(calls) == call:
            raise KeyboardInterrupt

    blas = threads._Blas()
    blas._shared, blas._own = [], []
    switches = [(lambda n=name: numbers[n], lambda v, n=name: change(n, v)) for name in numbers]
    setattr(blas, kind, switches)
    with pytest.raises(KeyboardInterrupt), blas:
        assert call >= 2, "entered"
    interrupt = False
    if call < 2:
        assert numbers == {"a": 4, "b": 3}  # the block was not entered
    with blas:
        assert numbers == {"a": 1, "b": 1}
    assert numbers == {"a": 4, "b": 3}
    assert blas._users == 0


def test_two_callers_at_once_leave_blas_as_it_was():
    threads.set_num_threads(2)
    with threadpool_limits(2, user_api="blas"):
        before = blas()

        def call():
            for _ in range(200):
                threads.each(lambda item: None, range(3))

        callers = [threading.Thread(target=call) for _ in range(4)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join(60)
        assert not any(caller.is_alive() for caller in callers)
        assert blas() == before


# ---------------------------------------------------------------- programs


def test_two_trainings_at_once_give_what_each_gives_alone():
    def train(seed):
        rng = np.random.default_rng(seed)
        x = minicnn.tensor(rng.standard_normal((32, 1, 28, 28)).astype(np.float32))
        target = minicnn.tensor(rng.integers(0, 10, 32))
        conv = minicnn.nn.Conv2d(1, 8, 5)
        linear = minicnn.nn.Linear(8 * 12 * 12, 10)
        for layer in (conv, linear):
            for p in layer.parameters():
                p.data = minicnn.tensor((rng.standard_normal(p.shape) * 0.1).astype(np.float32))
        parameters = [*conv.parameters(), *linear.parameters()]
        optimizer = minicnn.optim.SGD(parameters, lr=0.1, momentum=0.9)
        losses = []
        for _ in range(5):
            optimizer.zero_grad()
            y = minicnn.nn.functional.max_pool2d(conv(x).relu(), 2)
            loss = minicnn.nn.functional.cross_entropy(linear(y.flatten(1)), target)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        results[seed] = losses

    threads.set_num_threads(2)
    results: dict[int, list[float]] = {}
    alone = {}
    for seed in range(3):
        train(seed)
        alone[seed] = results.pop(seed)
    at_once = [threading.Thread(target=train, args=(seed,)) for seed in range(3)]
    for thread in at_once:
        thread.start()
    for thread in at_once:
        thread.join(60)
    assert results == alone


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks on this system")
def test_a_forked_child_has_workers_of_its_own_even_while_the_parents_are_busy():
    code = """
    import os, threading, time
    from threadpoolctl import ThreadpoolController, threadpool_limits
    from minicnn.backend.cpu import threads
    threadpool_limits(2, user_api="blas")
    def blas():
        found = ThreadpoolController().lib_controllers
        return {library.num_threads for library in found if library.user_api == "blas"}
    threads.set_num_threads(3)
    threads.each(lambda item: None, range(9))
    stop = threading.Event()
    def busy():
        while not stop.is_set():
            threads.each(lambda item: time.sleep(1e-4), range(9))
    other = threading.Thread(target=busy)
    other.start()
    codes = []
    for _ in range(20):
        time.sleep(0.003)
        child = os.fork()
        if child == 0:
            done, numbers = [], blas()
            threads.each(done.append, range(50))
            good = sorted(done) == list(range(50)) and threads.one_blas_thread._users == 0
            os._exit(0 if good and numbers == blas() == {2} else 1)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    stop.set()
    other.join()
    print(sum(codes))
    """
    assert program(code) == "0"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks on this system")
@pytest.mark.parametrize(
    ("name", "first_use"),
    [
        ("minicnn.backend.cpu.softmax", "cpu.softmax_forward"),
        ("minicnn.backend.cpu.winograd", "conv._winograd()"),
        ("threadpoolctl", "threads.one_blas_thread.__enter__()"),
        ("queue", "threads.set_num_threads(2); threads.each(len, ['', ''])"),
    ],
)
def test_a_fork_waits_for_what_another_thread_loads(name, first_use):
    """The child would wait for ever for a module that nobody loads to its end."""
    found = program(f"""
        import os, signal, sys, threading, time, warnings
        from minicnn.backend import cpu
        from minicnn.backend.cpu import conv, threads

        class Slow:
            def find_spec(self, found, path=None, target=None):
                if found == {name!r}:
                    begun.set()
                    time.sleep(0.3)

        def use():
            {first_use}

        warnings.simplefilter("ignore")  # of a fork beside threads
        begun = threading.Event()
        sys.modules.pop({name!r}, None)
        sys.meta_path.insert(0, Slow())
        thread = threading.Thread(target=use)
        thread.start()
        begun.wait()
        child = os.fork()
        if child == 0:
            signal.alarm(10)
            import {name}
            os._exit(0)
        print(os.waitpid(child, 0)[1])
        thread.join()
    """)
    assert found == "0"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="workers are forked here")
def test_a_loaders_workers_compute_on_one_thread():
    class Numbers(minicnn.data.Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            return minicnn.get_num_threads()

    threads.set_num_threads(2)
    loader = minicnn.data.DataLoader(Numbers(), num_workers=2)
    assert [batch.item() for batch in loader] == [1, 1, 1, 1]
    assert minicnn.get_num_threads() == 2


def test_a_program_ends_while_its_workers_wait():
    code = """
    from minicnn.backend.cpu import threads
    threads.set_num_threads(4)
    threads.each(lambda item: None, range(9))
    print("end")
    """
    assert program(code) == "end"


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal to a thread")
@pytest.mark.parametrize("error", ["KeyboardInterrupt", "TimeoutError"])
def test_ctrl_c_waits_for_the_pieces_in_other_threads(error):
    code = f"""
    import signal, threading, time
    from minicnn.backend.cpu import threads
    threads.set_num_threads(2)
    def handler(*args):
        raise {error}
    signal.signal(signal.SIGINT, handler)
    main, at_work, ended = threading.current_thread(), threading.Event(), []
    def work(item):
        if threading.current_thread() is main:
            at_work.wait()
            return  # and then waits for the other
        at_work.set()
        time.sleep(0.2)
        signal.pthread_kill(main.ident, signal.SIGINT)
        time.sleep(0.5)
        ended.append(item)
    try:
        threads.each(work, range(2))
    except {error}:
        print("heard", len(ended))
    """
    assert program(code) == "heard 1"
