"""DataLoader's worker processes: what they send, draw and say, and that they always go away.

What involves signals, start methods or a dying program runs in a program of its own with a time
limit, so that a hang is a failure.
"""

import contextlib
import faulthandler
import gc
import multiprocessing
import os
import pickle
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import minicnn
from minicnn import Generator, Tensor
from minicnn.data import DataLoader, Dataset, IterableDataset, TensorDataset, get_worker_info

# minicnn's choice on Linux; elsewhere the datasets of these tests could not be sent.
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, and looks into /proc")

LONG = 60  # seconds after which a program counts as hanging


@pytest.fixture(autouse=True)
def nothing_left():
    files = len(os.listdir("/proc/self/fd"))
    yield
    if multiprocessing.active_children():
        gc.collect()
    assert multiprocessing.active_children() == []
    if len(os.listdir("/proc/self/fd")) > files:
        gc.collect()  # a failed test's traceback, a batch in a cycle
    assert len(os.listdir("/proc/self/fd")) <= files


class Made(Dataset):
    """Sample i is make(i)."""

    def __init__(self, make, n=20):
        self.make, self.n = make, n

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        return self.make(index)


def drawn(index):
    """Draws from all three generators that are seeded."""
    return index, minicnn.rand(2), np.random.rand(), random.random()


def values(batches):
    return [
        [x.tolist() if isinstance(x, Tensor) else x for x in batch]
        if isinstance(batch, (list, tuple))
        else batch.tolist()
        for batch in batches
    ]


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition):
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


class Counter:
    """Counts in several processes."""

    def __init__(self, path):
        self.path = path
        path.touch()

    def add(self):
        with open(self.path, "a") as file:
            file.write("1")

    @property
    def value(self):
        return self.path.stat().st_size


# ---------------------------------------------------------------- what travels


def test_large_arrays_come_in_memory_of_the_users_own():
    def make(index):
        return {"x": np.full((3, 64, 64), index, np.float32), "y": index, "name": f"n{index}"}

    before = set(os.listdir("/dev/shm"))
    loader = DataLoader(Made(make, 6), 2, num_workers=2, persistent_workers=True)
    first = list(loader)
    for k, batch in enumerate(first):
        assert batch["x"].array.flags.writeable
        assert batch["x"].dtype == minicnn.float32
        assert batch["name"] == [f"n{2 * k}", f"n{2 * k + 1}"]
        batch["x"] += 100
    second = list(loader)
    for k, (a, b) in enumerate(zip(first, second, strict=True)):
        expected = np.array([2 * k, 2 * k + 1], np.float32)[:, None, None, None]
        assert (b["x"].numpy() == expected).all()
        assert (a["x"].numpy() == expected + 100).all()
    assert set(os.listdir("/dev/shm")) <= before


def test_more_batches_than_may_be_mapped_can_be_kept():
    make = Made(lambda i: np.full(70_000, i % 251, np.uint8), 300)
    open_files = len(os.listdir("/proc/self/fd"))
    batches = list(DataLoader(make, 1, num_workers=1))
    assert len(os.listdir("/proc/self/fd")) < open_files + 150
    assert [int(batch[0, -1]) for batch in batches] == [i % 251 for i in range(300)]
    assert all(batch.array.flags.writeable for batch in batches)


def test_where_no_memory_file_can_be_written_the_pipe_takes_the_batch():
    def forbid(worker):
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    make = Made(lambda i: (np.full(100_000, i), "x" * 100_000), 4)
    for x, names in DataLoader(make, 2, num_workers=1, worker_init_fn=forbid):
        assert x.array.flags.writeable
        assert (x.numpy()[:, 0] == x.numpy()[:, -1]).all()
        assert list(names) == ["x" * 100_000] * 2


def test_other_layouts_and_types_travel_too():
    def make(index):
        return (
            np.arange(60_000.0).reshape(200, 300).T,
            np.arange(200_000)[::2],
            np.array(["a", "b"]),
            None,
            np.zeros((0, 5)),
            np.float16(3),
        )

    direct = make(0)
    for got in DataLoader(Made(make, 3), batch_size=None, num_workers=2, collate_fn=lambda x: x):
        assert all(np.array_equal(a, b) for a, b in zip(got, direct, strict=True))
        assert [type(x) for x in got] == [type(x) for x in direct]


def test_many_indices_and_large_small_batches_do_not_block_each_other():
    orders = [list(range(60_000))] * 6
    make = Made(lambda i: "word" * 5, 60_000)
    loader = DataLoader(make, batch_sampler=orders, num_workers=2, collate_fn=lambda b: b)
    assert [len(batch) for batch in loader] == [60_000] * 6


# ---------------------------------------------------------------- randomness


def test_draws_depend_on_the_seed_alone_not_on_the_workers():
    def batches(num_workers, seed, **options):
        generator = Generator().manual_seed(seed)
        loader = DataLoader(
            Made(drawn), 3, True, num_workers=num_workers, generator=generator, **options
        )
        return values(loader) + values(loader)

    one = batches(1, 5)
    assert one == batches(3, 5) == batches(2, 5, persistent_workers=True, prefetch_factor=1)
    assert sorted(one, key=str) == sorted(batches(3, 5, in_order=False), key=str)
    assert one != batches(1, 6)
    for part in range(1, 4):  # no two samples, batches or epochs draw the same
        seen = [str(x) for batch in one for x in batch[part]]
        assert len(set(seen)) == len(seen) == 40


def test_an_epoch_repeats_after_manual_seed_and_after_its_state_is_restored():
    loader = DataLoader(Made(drawn), 4, num_workers=2)  # not shuffled: the draws alone
    minicnn.manual_seed(3)
    first, state = values(loader), minicnn.get_rng_state()
    second = values(loader)
    assert first != second
    minicnn.manual_seed(3)
    assert values(loader) == first
    minicnn.set_rng_state(state)
    iterator = iter(loader)
    next(iterator)  # left and begun again, as a training that was interrupted does
    minicnn.set_rng_state(state)
    assert values(loader) == second


def test_a_sampler_that_draws_when_it_is_asked_draws_the_same_with_workers():
    class Lazy:
        def __iter__(self):
            yield from minicnn.randperm(9).tolist()

    def order(num_workers):
        minicnn.manual_seed(8)
        loader = DataLoader(Made(lambda i: i), 2, sampler=Lazy(), num_workers=num_workers)
        return values(loader) + values(loader)

    assert order(0) == order(2)


def test_what_worker_init_fn_seeds_is_left_alone():
    def init(worker):
        np.random.seed(7)
        random.seed(minicnn.initial_seed() % 2**32)  # PyTorch's recipe: as it is here anyway

    def batches(num_workers, init=init):
        minicnn.manual_seed(1)
        return values(DataLoader(Made(drawn, 4), 2, num_workers=num_workers, worker_init_fn=init))

    wanted = np.random.RandomState(7).rand(4).tolist()
    one, two, plain = batches(1), batches(2), batches(2, None)
    assert [x for batch in one for x in batch[2]] == wanted
    assert [batch[2] for batch in two] == [wanted[:2]] * 2
    assert [batch[3] for batch in one] == [batch[3] for batch in two] == [b[3] for b in plain]


def test_the_programs_generators_are_not_touched():
    states = (np.random.get_state()[1].tolist(), random.getstate())
    list(DataLoader(Made(drawn), 4, num_workers=1))
    assert (np.random.get_state()[1].tolist(), random.getstate()) == states


# ---------------------------------------------------------------- who is who


def test_worker_info_and_worker_init_fn():
    def init(worker):
        info = get_worker_info()
        info.dataset.note = (worker, info.id, info.seed == minicnn.initial_seed())

    class Asked(Made):
        note = None

        def __getitem__(self, index):
            info = get_worker_info()
            return self.note, info.id, info.num_workers, info.seed, info.dataset is self

    data = Asked(None, 5)
    generator = Generator().manual_seed(9)
    base = int(Generator().manual_seed(9).numpy.integers(2**63 - 1))
    loader = DataLoader(
        data, None, num_workers=2, worker_init_fn=init, generator=generator, persistent_workers=True
    )
    expected = [[[k % 2, k % 2, True], k % 2, 2, base + k % 2, True] for k in range(5)]
    assert list(loader) == expected
    assert {x[3] for x in loader}.isdisjoint({base, base + 1})  # the next epoch's
    assert data.note is None  # the workers' dataset is a copy


class Parts(IterableDataset):
    """Worker i gives (i, 0), (i, 1), ... , lengths[i] of them."""

    def __init__(self, *lengths):
        self.lengths = lengths

    def __iter__(self):
        worker = get_worker_info().id
        for k in range(self.lengths[worker]):
            yield worker, k


def test_an_iterable_datasets_batches_come_from_the_workers_in_turn():
    def batches(**options):
        loader = DataLoader(Parts(5, 0, 2), 2, num_workers=3, **options)
        first = values(loader)
        assert values(loader) == first
        return first

    expected = [[[0, 0], [0, 1]], [[2, 2], [0, 1]], [[0, 0], [2, 3]], [[0], [4]]]
    assert batches() == batches(prefetch_factor=5) == batches(persistent_workers=True) == expected
    assert batches(drop_last=True) == expected[:3]
    assert sorted(batches_of_any_order()) == sorted(expected)


def batches_of_any_order():
    return values(DataLoader(Parts(5, 0, 2), 2, num_workers=3, in_order=False))


def test_single_samples_of_an_iterable_dataset():
    loader = DataLoader(Parts(1, 3), None, num_workers=2)
    assert list(loader) == [[0, 0], [1, 0], [1, 1], [1, 2]]


def test_in_order_false_does_not_wait_for_a_slow_worker(tmp_path):
    gate = tmp_path / "open"

    def make(index):
        if index == 0:
            wait_until(gate.exists)
        return index

    loader = DataLoader(Made(make, 6), num_workers=2, in_order=False, prefetch_factor=1)
    got = []
    for batch in loader:
        got.append(int(batch))
        if len(got) == 5:
            gate.touch()
    assert sorted(got) == list(range(6))
    assert got[-1] == 0


@pytest.mark.parametrize("in_order", [True, False])
def test_no_more_is_fetched_ahead_than_told(in_order, tmp_path):
    count = Counter(tmp_path / "count")

    def make(index):
        count.add()
        return index

    loader = DataLoader(Made(make, 100), 2, num_workers=2, prefetch_factor=3, in_order=in_order)
    iterator = iter(loader)
    next(iterator)
    wait_until(lambda: count.value >= 14)
    time.sleep(0.1)
    assert count.value == 14  # the batch taken, and 3 of each worker


# ---------------------------------------------------------------- exceptions


class TwoParts(Exception):
    def __init__(self, part, other):
        super().__init__(f"{part} and {other}")
        self.part = part


class Forgetful(Exception):
    """Can be pickled, but not printed when made without its __init__."""

    def __init__(self, a, b):
        self.text = a + b
        self.lock = threading.Lock()

    def __str__(self):
        return self.text


def local_error():
    class Local(ValueError):
        pass

    return Local("of a function")


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (KeyError("two\nlines"), KeyError, "two"),
        (FileNotFoundError(2, "No such file", "a.png"), FileNotFoundError, "a.png"),
        (TwoParts("this", "that"), TwoParts, "this and that"),
        (Forgetful("for", "got"), Exception, "Forgetful: forgot"),
        (local_error(), ValueError, "Local: of a function"),
        (UnicodeDecodeError("utf8", b"x", 0, 1, "bad"), UnicodeDecodeError, "bad"),
        (SystemExit(3), SystemExit, "3"),
    ],
    ids=lambda x: type(x).__name__ if isinstance(x, BaseException) else None,
)
def test_exceptions_keep_their_type_and_bring_their_traceback(error, kind, text):
    def make(index):
        if index == 2:
            raise error
        return index

    iterator = iter(DataLoader(Made(make, 4), num_workers=2))
    assert [int(next(iterator)), int(next(iterator))] == [0, 1]
    with pytest.raises(kind) as caught:
        next(iterator)
    assert text in str(caught.value)
    note = caught.value.__notes__[-1]
    assert f"Caught {type(error).__name__} in DataLoader worker process 0 (pid " in note
    assert "raise error" in note
    assert "test_workers.py" in note
    assert int(next(iterator)) == 3
    if kind is TwoParts:
        assert caught.value.part == "this"


def test_a_batch_that_cannot_be_pickled_is_an_error_of_its_own():
    loader = DataLoader(Made(lambda i: i), num_workers=1, collate_fn=lambda b: lambda: b)
    with pytest.raises((AttributeError, pickle.PicklingError)) as caught:
        next(iter(loader))
    assert any("sends each batch pickled" in note for note in caught.value.__notes__)


def test_a_worker_that_cannot_begin():
    def fails(worker):
        raise OSError(f"init of {worker}")

    iterator = iter(DataLoader(Made(lambda i: i), num_workers=2, worker_init_fn=fails))
    with pytest.raises(OSError, match="init of"):
        next(iterator)
    assert list(iterator) == []


def test_no_workers_in_a_worker():
    def make(index):
        return list(DataLoader(Made(lambda i: i, 2), num_workers=1))

    with pytest.raises(RuntimeError, match=r"cannot start workers; use num_workers=0 in it"):
        next(iter(DataLoader(Made(make), num_workers=1)))


def test_timeout_and_another_try(tmp_path):
    gate = tmp_path / "open"

    def make(index):
        wait_until(gate.exists)
        return index

    iterator = iter(DataLoader(Made(make, 2), num_workers=1, timeout=0.05))
    with pytest.raises(RuntimeError, match=r"timed out after 0.05 seconds"):
        next(iterator)
    gate.touch()
    got = []
    while len(got) < 2:
        try:
            got.append(int(next(iterator)))
        except RuntimeError as error:
            assert "timed out" in str(error)
    assert got == [0, 1]


def test_what_a_gpus_library_says_in_a_worker_is_explained():
    class RuntimeOfCuda(RuntimeError):
        __module__ = "cupy_backends.cuda.api.runtime"

    def make(index):
        raise RuntimeOfCuda("initialization error")

    with pytest.raises(RuntimeError, match="RuntimeOfCuda: initialization error") as caught:
        next(iter(DataLoader(Made(make), num_workers=1)))
    assert "keep the dataset on the CPU" in caught.value.__notes__[-1]


# ---------------------------------------------------------------- death


@pytest.mark.parametrize(
    ("end", "text"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), r"signal 9 \(SIGKILL\).*out of memory"),
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), r"signal 11 \(SIGSEGV\).*faulthandler"),
        (lambda: os._exit(5), r"by itself with exit code 5\. .*os\._exit"),
    ],
    ids=["SIGKILL", "SIGSEGV", "exit"],
)
def test_a_worker_that_dies_is_named_with_its_cause(end, text):
    def make(index):
        if index == 5:
            faulthandler.disable()  # pytest's, which would describe the crash
            end()
        if index == 6:
            time.sleep(LONG)  # the other one is ended
        return index

    iterator = iter(DataLoader(Made(make), num_workers=2))
    with pytest.raises(RuntimeError, match=r"DataLoader worker 1 \(pid \d+\) .*" + text):
        list(iterator)
    assert multiprocessing.active_children() == []
    assert list(iterator) == []


def test_persistent_workers_are_kept_and_those_that_died_replaced(tmp_path):
    inits = Counter(tmp_path / "inits")

    def init(worker):
        inits.add()

    data = Made(lambda i: os.getpid(), 12)
    loader = DataLoader(data, num_workers=2, worker_init_fn=init, persistent_workers=True)
    pids = {int(batch) for batch in loader}
    for _ in range(3):
        for batch in loader:  # left early, with batches under way
            assert int(batch) in pids
            break
    assert {int(batch) for batch in loader} == pids
    assert inits.value == 2
    os.kill(min(pids), signal.SIGKILL)
    # Not just a zombie: while its threads end, the system does not say yet that it has.
    wait_until(lambda: min(pids) not in {p.pid for p in multiprocessing.active_children()})
    assert not {int(batch) for batch in loader} & pids
    two = [(int(a), int(b)) for a, b in zip(loader, loader, strict=True)]  # each its own workers
    assert not {a for a, _ in two} & {b for _, b in two}


def test_workers_end_with_the_iteration():
    data = Made(lambda i: os.getpid(), 100)
    for _ in DataLoader(data, 5, num_workers=2):
        break
    assert multiprocessing.active_children() == []
    iterator = iter(DataLoader(data, 50, num_workers=2))
    assert len(list(iterator)) == 2  # kept, but at its end
    assert multiprocessing.active_children() == []
    cycle = [iter(DataLoader(data, 5, num_workers=2))]
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert multiprocessing.active_children() == []
    kept = DataLoader(data, 5, num_workers=1, persistent_workers=True)
    list(kept)
    assert len(multiprocessing.active_children()) == 1
    del kept
    assert multiprocessing.active_children() == []


def test_ctrl_c_gives_the_iteration_up():
    def make(index):
        if index == 1:
            os.kill(os.getppid(), signal.SIGINT)
            time.sleep(LONG)
        return index

    iterator = iter(DataLoader(Made(make), num_workers=1))
    with pytest.raises(KeyboardInterrupt):
        for _ in range(2):
            next(iterator)
    assert multiprocessing.active_children() == []
    with pytest.raises(RuntimeError, match="this iteration was interrupted"):
        next(iterator)
    assert list(iterator) == []


def test_iterations_in_threads():
    results = []

    def epoch():
        results.append(values(DataLoader(Made(lambda i: i), 6, num_workers=2)))

    threads = [threading.Thread(target=epoch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [values(DataLoader(Made(lambda i: i), 6))] * 4


def test_pipes_are_forgotten_before_they_are_closed():
    """What is forked in another thread meanwhile closes what the list holds, by its number."""
    iterator = iter(DataLoader(Made(lambda i: i), num_workers=2))
    workers, seen = iterator._pool._workers, []

    def watched(close):
        def closing():
            seen.append(len(workers))
            close()

        return closing

    for worker in workers:
        worker.connection.close = watched(worker.connection.close)
    iterator._pool.close()
    assert seen == [0, 0]


def test_a_forked_child_of_the_program_has_no_part_in_the_workers():
    loader = DataLoader(Made(lambda i: i), num_workers=2, persistent_workers=True)
    iterator = iter(loader)
    assert int(next(iterator)) == 0
    child = os.fork()
    if child == 0:
        code = 1
        try:
            try:
                next(iterator)
            except RuntimeError as error:
                code = 0 if "which this one was forked from" in str(error) else 2
            code += 0 if len(list(loader)) == 20 else 4  # with workers of its own
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert [int(batch) for batch in iterator] == list(range(1, 20))
    del iterator


# ---------------------------------------------------------------- programs


HEAD = """
import os, signal, sys, threading, time
import numpy as np
import minicnn
from minicnn.data import DataLoader, Dataset, IterableDataset, get_worker_info

class Numbers(Dataset):
    def __init__(self, sleep=0.0): self.sleep = sleep
    def __len__(self): return 1000
    def __getitem__(self, i):
        time.sleep(self.sleep if i else 0)
        return i

def workers():
    import multiprocessing
    return [p.pid for p in multiprocessing.active_children()]
"""


@pytest.fixture
def program(tmp_path):
    """Starts a program: HEAD and then `text`. Ended, with all that it started, after the test."""
    started = []

    def start(text):
        path = tmp_path / "program.py"
        path.write_text(HEAD + textwrap.dedent(text))
        here = str(Path(minicnn.__file__).parents[1])
        process = subprocess.Popen(
            [sys.executable, "-W", "error", str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": here},
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def finished(process):
    """(exit code, what it printed, what it said on stderr), and nobody of its group is left."""
    out, err = process.communicate(timeout=LONG)
    wait_until(lambda: not group(process.pid))
    return process.returncode, out, err


def group(leader):
    """Who lives of that process group."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, _, pgid = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            except OSError:
                continue
            if int(pgid) == leader and state != "Z":
                found.append(int(entry.name))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_other_start_methods_give_the_same_batches(program, method):
    process = program(f"""
    def batches(num_workers, **options):
        minicnn.set_default_dtype(minicnn.float64)
        minicnn.manual_seed(4)
        data = minicnn.data.Subset(Drawn(), range(6))
        loader = DataLoader(data, 2, True, num_workers=num_workers, **options)
        return [[x.tolist() for x in batch] for batch in loader]

    class Drawn(Numbers):
        def __getitem__(self, i): return i, minicnn.rand(1), np.random.rand(), (1 if i else 0.5)

    if __name__ == "__main__":
        assert batches(2, multiprocessing_context="{method}") == batches(1)
        lock = __import__("multiprocessing").get_context("{method}").Lock()
        data = Numbers()
        data.lock = lock  # which can be sent only while a process is started
        loader = DataLoader(data, num_workers=1, multiprocessing_context="{method}")
        assert int(next(iter(loader))) == 0
        print("same")
    """)
    assert finished(process) == (0, "same\n", "")


@pytest.mark.slow
def test_what_cannot_be_sent_to_spawned_workers_is_named(program):
    process = program("""
    class Compose:
        def __init__(self, *steps): self.steps = list(steps)

    if __name__ == "__main__":
        data = Numbers()
        data.transform = Compose(abs, lambda x: x)
        for options in ({}, {"collate_fn": lambda b: b}):
            try:
                iter(DataLoader(data, num_workers=1, multiprocessing_context="spawn", **options))
            except TypeError as error:
                print(error)
            del data.transform
            data.transform = None
    """)
    code, out, err = finished(process)
    assert (code, err) == (0, "")
    first, second = out.splitlines()
    assert "dataset.transform.steps[1] (<function <lambda>" in first
    assert "multiprocessing_context='fork'" in first
    assert "collate_fn (<function <lambda>" in second


@pytest.mark.slow
def test_a_program_without_a_guard_is_told_so(program):
    process = program("""
    print("main", flush=True)
    list(DataLoader(Numbers(), 100, num_workers=2, multiprocessing_context="spawn"))
    """)
    code, out, err = finished(process)
    assert code == 1
    assert out.count("main") <= 3  # the program and its workers: nobody started more
    assert "RuntimeError: DataLoader worker" in err
    assert err.count("if __name__ == '__main__':") >= 2


@pytest.mark.slow
def test_a_program_that_ends_when_it_is_imported_is_told_so(program):
    process = program("""
    if __name__ != "__main__":
        sys.exit()
    list(DataLoader(Numbers(), 100, num_workers=1, multiprocessing_context="spawn"))
    """)
    code, _, err = finished(process)
    assert code == 1 and "must not end, as by sys.exit, when imported" in err
    assert "os._exit" not in err


@pytest.mark.slow
def test_a_dataset_that_cannot_be_unpickled_in_the_worker(program):
    process = program("""
    def explode(): raise ArithmeticError("no such camera")
    class Camera(Numbers):
        def __reduce__(self): return explode, ()

    if __name__ == "__main__":
        try:
            list(DataLoader(Camera(), num_workers=1, multiprocessing_context="spawn"))
        except ArithmeticError as error:
            print(error, "in explode" in error.__notes__[0])
    """)
    assert finished(process) == (0, "no such camera True\n", "")


INTERRUPTED = {
    "waiting": "for batch in DataLoader(Numbers(100), 2, num_workers=2): pass",
    "working": """
for batch in DataLoader(Numbers(), 2, num_workers=2):
    while True: time.sleep(0.001)
""",
    "persistent": """
loader = DataLoader(Numbers(), 500, num_workers=2, persistent_workers=True)
while True:
    for batch in loader: pass
""",
    "starting": """
while True:
    for batch in DataLoader(Numbers(), 500, num_workers=3): pass
""",
    "spawning": """
while True:
    iter(DataLoader(Numbers(), 500, num_workers=3, multiprocessing_context="spawn"))
""",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("state", "to_all", "times"),
    [
        ("waiting", True, 1),
        ("waiting", False, 2),
        ("working", True, 1),
        ("persistent", False, 1),
        ("starting", False, 1),
        ("starting", True, 2),
        ("spawning", True, 1),
    ],
)
def test_ctrl_c(program, state, to_all, times):
    body = textwrap.indent(INTERRUPTED[state].strip(), "        ")
    process = program(f"""
if __name__ == "__main__":
    try:
        print("ready", flush=True)
{body}
    except KeyboardInterrupt:
        sys.exit(7)
""")
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.3)
    for _ in range(times):
        if process.poll() is None:
            (os.killpg if to_all else os.kill)(process.pid, signal.SIGINT)
            time.sleep(0.01)
    code, out, err = finished(process)
    if times == 1:
        assert (code, out, err) == (7, "", "")
    else:  # the second may come after the try
        assert code in (7, -signal.SIGINT, 130, 1)
        assert err.count("Traceback") <= 2
        assert "DataLoader worker" not in err


@pytest.mark.slow
def test_ctrl_c_is_heard_in_the_first_moments_of_a_program(program):
    """While modules are imported, where NumPy's would drop it, and while workers start."""
    process = program("""
    assert "numpy.random" not in sys.modules and "multiprocessing" not in sys.modules
    for milliseconds in range(0, 80, 2):
        begun, begin = os.pipe()
        child = os.fork()
        if child == 0:
            code = 1
            signal.alarm(20)  # for one that did not hear
            try:
                os.write(begin, b".")
                for batch in DataLoader(Numbers(100), 2, num_workers=2): pass
            except KeyboardInterrupt:
                code = 7
            finally:
                os._exit(code)
        os.read(begun, 1)
        time.sleep(milliseconds / 1000)
        os.kill(child, signal.SIGINT)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7, milliseconds
    """)
    assert finished(process) == (0, "", "")


@pytest.mark.slow
@pytest.mark.parametrize("sleep", [0, 100])
def test_workers_whose_program_is_killed_end_by_themselves(program, sleep):
    process = program(f"""
    first = iter(DataLoader(Numbers(), 2, num_workers=2))
    second = iter(DataLoader(Numbers({sleep}), 2, num_workers=2))
    next(first)
    print(*workers(), flush=True)
    time.sleep(100)
    """)
    pids = [int(pid) for pid in process.stdout.readline().split()]
    assert len(pids) == 4
    process.kill()
    wait_until(lambda: not any(alive(pid) for pid in pids))
    assert process.stderr.read() == ""


@pytest.mark.slow
@pytest.mark.parametrize("persistent", [True, False])
@pytest.mark.parametrize("sleep", [0, 100])
def test_a_program_ends_while_its_workers_live(program, persistent, sleep):
    process = program(f"""
    loader = DataLoader(Numbers({sleep}), 1, num_workers=2, persistent_workers={persistent})
    kept = iter(loader)
    next(kept)
    """)
    assert finished(process) == (0, "", "")


@pytest.mark.slow
def test_a_forked_child_that_ends_as_programs_do_leaves_the_workers_alone(program):
    process = program("""
    kept = iter(DataLoader(Numbers(), 10, num_workers=2))
    next(kept)
    child = os.fork()
    if child == 0:
        sys.exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    print(sum(1 for batch in kept))
    """)
    assert finished(process) == (0, "99\n", "")


@pytest.mark.slow
def test_a_stopped_worker_is_killed_in_the_end(program):
    process = program("""
    def stop(worker):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    kept = iter(DataLoader(Numbers(100), 1, num_workers=2, worker_init_fn=stop))
    next(kept)
    del kept
    assert not workers()
    """)
    assert finished(process) == (0, "", "")


@pytest.mark.slow
def test_a_training_that_was_interrupted_goes_on_with_the_same_draws(tmp_path):
    """The batches that follow a resumption are those of a run that was never interrupted."""
    from minicnn import nn, optim
    from minicnn.train import Trainer

    def make(index):
        return minicnn.rand(3) + index, index % 2

    def train(*epochs_of_each):
        folder = tmp_path / "-".join(map(str, epochs_of_each))
        for seed, epochs in enumerate(epochs_of_each):
            minicnn.manual_seed(seed)  # what is resumed forgets another seed
            model = nn.Linear(3, 2)
            optimizer = optim.SGD(model.parameters(), lr=0.01)
            trainer = Trainer(model, optimizer, nn.CrossEntropyLoss(), run_dir=folder)
            loader = DataLoader(Made(make), 4, shuffle=True, num_workers=2)
            trainer.fit(loader, epochs=epochs, resume=seed > 0)
        return model.weight.tolist()

    assert train(3) == train(1, 3)


def test_a_tensor_dataset_is_fetched_by_the_batch_in_a_worker():
    x = np.arange(400_000, dtype=np.float32).reshape(100, 4000)
    data = TensorDataset(x, np.arange(100))
    pairs = zip(DataLoader(data, 30), DataLoader(data, 30, num_workers=2), strict=True)
    for (a, i), (b, j) in pairs:
        assert np.array_equal(a.numpy(), b.numpy())
        assert np.array_equal(i.numpy(), j.numpy())
