"""DataLoader: batches, order, seeds, errors and options; test_workers.py has the processes."""

import copy
import gc
import multiprocessing
import pickle
import traceback

import numpy as np
import pytest

import minicnn
from minicnn import Generator, Tensor
from minicnn.backend.random import default_generator
from minicnn.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Subset,
    TensorDataset,
    get_worker_info,
)


class Squares(Dataset):
    """Sample i is (i * i, "i"); sample `broken` raises."""

    def __init__(self, n, broken=None):
        self.n, self.broken = n, broken

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        if index == self.broken:
            raise LookupError(f"sample {index} is rotten")
        return index * index, str(index)


class Stream(IterableDataset):
    """0 .. n-1; worker i of k has i, i + k, i + 2k, ..."""

    def __init__(self, n):
        self.n = n

    def __iter__(self):
        info = get_worker_info()
        return iter(range(self.n) if info is None else range(info.id, self.n, info.num_workers))


@pytest.fixture(autouse=True)
def no_worker_left():
    yield
    if multiprocessing.active_children():
        gc.collect()
    assert multiprocessing.active_children() == []


def listed(loader):
    """Plain values of all batches."""
    return [plain(batch) for batch in loader]


def plain(x):
    if isinstance(x, Tensor):
        return x.numpy().tolist()
    return [plain(part) for part in x] if isinstance(x, (list, tuple)) else x


workers = pytest.mark.parametrize("num_workers", [0, 1, 3])


# ---------------------------------------------------------------- batches and order


@workers
@pytest.mark.parametrize("drop_last", [False, True])
def test_batches_in_order(num_workers, drop_last):
    loader = DataLoader(Squares(7), 3, num_workers=num_workers, drop_last=drop_last)
    expected = [[[0, 1, 4], ["0", "1", "2"]], [[9, 16, 25], ["3", "4", "5"]], [[36], ["6"]]]
    assert listed(loader) == listed(loader) == expected[: 2 if drop_last else 3]
    assert len(loader) == (2 if drop_last else 3)


def test_shuffled_order_is_the_same_for_any_num_workers():
    def order(num_workers, **options):
        generator = Generator().manual_seed(5)
        loader = DataLoader(
            Squares(40), 7, True, num_workers=num_workers, generator=generator, **options
        )
        return listed(loader) + listed(loader)

    one = order(0)
    assert one == order(1) == order(4) == order(2, prefetch_factor=1)
    squares = [x for batch in one[:6] for x in batch[0]]
    assert sorted(squares) == [i * i for i in range(40)] != squares
    assert one[:6] != one[6:]


@workers
def test_an_epoch_takes_one_draw_at_iter_and_an_unshuffled_one_only_for_workers(num_workers):
    generator, twin = Generator().manual_seed(1), Generator().manual_seed(1)
    loader = DataLoader(Squares(9), 2, True, num_workers=num_workers, generator=generator)
    iterator = iter(loader)
    twin.numpy.integers(2**63 - 1)
    assert np.array_equal(generator.get_state(), twin.get_state())
    list(iterator)
    assert np.array_equal(generator.get_state(), twin.get_state())

    default, twin = default_generator(), Generator().manual_seed(default_generator().initial_seed())
    twin.set_state(default.get_state())
    iterator = iter(DataLoader(Squares(9), 2, num_workers=num_workers))
    if num_workers:
        twin.numpy.integers(2**63 - 1)
    assert np.array_equal(default.get_state(), twin.get_state())
    list(iterator)
    assert np.array_equal(default.get_state(), twin.get_state())


@workers
def test_a_restored_generator_repeats_the_epochs_that_followed(num_workers):
    minicnn.manual_seed(11)
    loader = DataLoader(Squares(20), 6, shuffle=True, num_workers=num_workers)
    listed(loader)
    state = default_generator().get_state()
    wanted = [listed(loader), listed(loader)]
    default_generator().set_state(state)
    assert [listed(loader), listed(loader)] == wanted


@workers
def test_sampler_and_batch_sampler(num_workers):
    assert listed(DataLoader(Squares(5), 2, sampler=[4, 0, 2], num_workers=num_workers)) == [
        [[16, 0], ["4", "0"]],
        [[4], ["2"]],
    ]
    loader = DataLoader(Squares(5), batch_sampler=[[1], [0, 3]], num_workers=num_workers)
    assert listed(loader) == [[[1], ["1"]], [[0, 9], ["0", "3"]]]
    assert len(loader) == 2
    assert loader.batch_size is None
    assert listed(DataLoader(Squares(5), batch_sampler=[], num_workers=num_workers)) == []


@workers
def test_batch_size_none_gives_single_samples(num_workers):
    data = TensorDataset(np.arange(3.0))
    out = [x for (x,) in DataLoader(data, batch_size=None, num_workers=num_workers)]
    assert [x.item() for x in out] == [0, 1, 2]
    assert listed(DataLoader(Stream(3), batch_size=None, num_workers=num_workers)) == [0, 1, 2]


@workers
def test_collate_fn(num_workers):
    loader = DataLoader(Squares(4), 2, collate_fn=lambda batch: batch, num_workers=num_workers)
    assert list(loader) == [[(0, "0"), (1, "1")], [(4, "2"), (9, "3")]]


def test_iterable_dataset():
    loader = DataLoader(Stream(5), 2)
    assert listed(loader) == listed(loader) == [[0, 1], [2, 3], [4]]
    with pytest.raises(TypeError, match="len"):
        len(loader)
    assert listed(DataLoader(Stream(5), 2, drop_last=True)) == [[0, 1], [2, 3]]
    assert listed(DataLoader(Stream(0), 2)) == []


@workers
def test_iterable_dataset_longer_than_it_says(num_workers):
    class Liar(IterableDataset):
        def __len__(self):
            return 4

        def __iter__(self):
            return iter(range(6))

    loader = DataLoader(Liar(), 2, num_workers=num_workers)
    assert len(loader) == 2
    hint = ".*each worker iterates over a copy" if num_workers > 1 else ""
    with pytest.warns(UserWarning, match="is 2 by the IterableDataset's __len__" + hint):
        assert len(listed(loader)) == 3 * max(1, num_workers)


@workers
def test_getitems_is_used(num_workers):
    class Many(Squares):
        def __getitems__(self, indices):
            return [("many", i) for i in indices]

    assert listed(DataLoader(Many(3), 2, num_workers=num_workers)) == [
        [["many", "many"], [0, 1]],
        [["many"], [2]],
    ]


@workers
def test_an_empty_dataset(num_workers):
    assert listed(DataLoader(Squares(0), 2, num_workers=num_workers)) == []
    with pytest.raises(ValueError, match="num_samples=0"):
        DataLoader(Squares(0), 2, shuffle=True, num_workers=num_workers)


def test_two_iterations_at_once():
    loader = DataLoader(Squares(6), 2, num_workers=2)
    pairs = list(zip(loader, loader, strict=True))
    assert [(plain(a), plain(b)) for a, b in pairs] == [(x, x) for x in listed(loader)]


def test_tensor_dataset_is_fetched_by_the_batch_with_equal_results():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((11, 2, 3)).astype(np.float32), np.arange(11)
    calls = []

    class Slow(TensorDataset):
        def __getitem__(self, index):
            calls.append(index)
            return super().__getitem__(index)

    sampler = [3, -1, 3, 0, 10, 7]
    for wrap in (lambda d: d, lambda d: Subset(d, list(range(10, -1, -1)))):
        fast = list(DataLoader(wrap(TensorDataset(x, y)), 4, sampler=sampler))
        slow = list(DataLoader(wrap(Slow(x, y)), 4, sampler=sampler))
        assert len(calls) == 6
        calls.clear()
        for a, b in zip(fast, slow, strict=True):
            assert type(a) is type(b) is list
            for s, t in zip(a, b, strict=True):
                assert s.dtype == t.dtype
                assert np.array_equal(s.numpy(), t.numpy())
                assert not np.shares_memory(s.numpy(), x)
    with pytest.raises(IndexError):
        list(DataLoader(TensorDataset(x), 2, sampler=[0, 11]))


def test_a_subset_with_its_own_getitem_is_not_passed_over():
    class Shifted(Subset):
        def __getitem__(self, index):
            return super().__getitem__(index)[0].item() + 100

    data = Shifted(TensorDataset(np.arange(6)), [1, 3, 5])
    assert listed(DataLoader(data, 2)) == [[101, 103], [105]]


def test_outside_of_workers_there_is_no_worker_info():
    class Asks(Stream):
        def __iter__(self):
            yield get_worker_info() is None

    assert listed(DataLoader(Asks(2))) == [[True]]
    assert listed(DataLoader(Asks(2), num_workers=2)) == [[False], [False]]
    assert get_worker_info() is None


# ---------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"batch_size": 0}, "batch_size should be a positive integer value, but got batch_size=0"),
        ({"batch_size": -3}, "batch_size=-3"),
        ({"batch_size": 2.5}, "batch_size=2.5"),
        ({"num_workers": -1}, "num_workers option should be non-negative, got -1"),
        ({"num_workers": 1, "timeout": -1}, "timeout option should be non-negative"),
        ({"timeout": 1}, "timeout option needs num_workers > 0"),
        ({"prefetch_factor": 2}, "prefetch_factor option needs num_workers > 0"),
        ({"persistent_workers": True}, "persistent_workers option needs num_workers > 0"),
        ({"multiprocessing_context": "fork"}, "multiprocessing_context option needs num_workers"),
        ({"num_workers": 1, "multiprocessing_context": "thread"}, "should be one of .*'spawn'"),
        ({"num_workers": 1, "prefetch_factor": 0}, "prefetch_factor option should be positive"),
        ({"shuffle": True, "sampler": [0]}, "sampler option is mutually exclusive with shuffle"),
        ({"batch_sampler": [[0]], "batch_size": 2}, "batch_sampler option is mutually exclusive"),
        ({"batch_sampler": [[0]], "shuffle": True}, "batch_sampler option is mutually exclusive"),
        ({"batch_sampler": [[0]], "drop_last": True}, "batch_sampler option is mutually exclusive"),
        ({"batch_size": None, "drop_last": True}, "batch_size=None option disables auto-batching"),
    ],
)
def test_options_that_cannot_be(options, text):
    with pytest.raises(ValueError, match=text):
        DataLoader(Squares(3), **options)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"num_workers": 1.5}, "num_workers option should be an integer, got 1.5"),
        ({"num_workers": "2"}, "num_workers option should be an integer, got '2'"),
        ({"num_workers": 1, "prefetch_factor": 1.5}, "prefetch_factor option should be an integer"),
        ({"num_workers": 1, "timeout": "1"}, "timeout option should be a number, got '1'"),
    ],
)
def test_options_that_are_no_numbers(options, text):
    with pytest.raises(TypeError, match=text):
        DataLoader(Squares(3), **options)


@pytest.mark.parametrize("name", ["shuffle", "sampler", "batch_sampler"])
def test_options_that_cannot_be_with_an_iterable_dataset(name):
    value = True if name == "shuffle" else [[0]]
    with pytest.raises(ValueError, match=f"IterableDataset: expected unspecified {name} option"):
        DataLoader(Stream(3), **{name: value})


def test_attributes_are_fixed():
    loader = DataLoader(Squares(3), 2, shuffle=True)
    assert isinstance(loader.sampler, RandomSampler)
    with pytest.raises(ValueError, match="batch_size attribute should not be set"):
        loader.batch_size = 3
    loader.collate_fn = list
    assert loader.batch_size == 2


def test_positional_order_is_pytorchs():
    loader = DataLoader(
        Squares(3), 2, False, None, None, 1, list, True, True, 3.0, print, None, None
    )
    assert (loader.num_workers, loader.collate_fn, loader.drop_last) == (1, list, True)
    assert (loader.timeout, loader.worker_init_fn) == (3.0, print)
    with pytest.raises(TypeError, match="should be a multiprocessing context or the name"):
        DataLoader(Squares(3), num_workers=1, multiprocessing_context=7)


def test_a_copy_of_a_loader_has_workers_of_its_own():
    loader = DataLoader(Squares(4), 2, num_workers=1, persistent_workers=True)
    expected = listed(loader)
    for twin in (copy.copy(loader), copy.deepcopy(loader), pickle.loads(pickle.dumps(loader))):
        assert twin._shelf is None
        assert listed(twin) == listed(loader) == expected


# ---------------------------------------------------------------- exceptions


@workers
def test_an_exception_has_the_datasets_traceback_and_the_rest_goes_on(num_workers):
    loader = DataLoader(Squares(6, broken=3), 2, num_workers=num_workers)
    iterator = iter(loader)
    assert plain(next(iterator))[0] == [0, 1]
    with pytest.raises(LookupError, match="sample 3 is rotten") as caught:
        next(iterator)
    text = "".join(traceback.format_exception(caught.value))
    assert 'raise LookupError(f"sample {index} is rotten")' in text
    assert "fetching sample 3" in text
    assert plain(next(iterator))[0] == [16, 25]
    with pytest.raises(StopIteration):
        next(iterator)


@workers
def test_exceptions_of_collate_sampler_and_stream(num_workers):
    def failing(batch):
        raise ArithmeticError("collate")

    with pytest.raises(ArithmeticError, match="collate"):
        list(DataLoader(Squares(3), collate_fn=failing, num_workers=num_workers))

    def order():
        yield 0
        yield 1
        raise KeyError("sampler")

    got = []
    with pytest.raises(KeyError, match="sampler"):
        for batch in DataLoader(Squares(3), sampler=order(), num_workers=num_workers):
            got.append(plain(batch)[0])
    assert got == [[0], [1]]

    class Bad(Stream):
        def __iter__(self):
            yield 1
            raise OSError("stream")

    iterator = iter(DataLoader(Bad(2), num_workers=num_workers))
    for _ in range(max(1, num_workers)):
        assert plain(next(iterator)) == [1]
    for _ in range(max(1, num_workers)):
        with pytest.raises(OSError, match="stream"):
            next(iterator)
    with pytest.raises(StopIteration):
        next(iterator)


@workers
def test_stop_iteration_in_a_dataset_does_not_end_the_loop_silently(num_workers):
    class Ends(Squares):
        def __getitem__(self, index):
            return next(iter([]))

    with pytest.raises(RuntimeError, match="raised StopIteration"):
        list(DataLoader(Ends(3), num_workers=num_workers))


def test_pytorchs_import_paths():
    from minicnn.utils.data.sampler import RandomSampler as also_there

    import minicnn.utils.data
    from minicnn.utils.data import DataLoader as there

    assert there is DataLoader
    assert also_there is RandomSampler
    assert minicnn.utils.data.Dataset is Dataset
