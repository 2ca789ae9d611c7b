"""Several data folders as one dataset: shares, resuming, processes, names, and what the options say."""

import itertools
import pickle
from collections import Counter
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from running import run
from toys import ToyData

from data.base import Clip, Job, Mixture
from data.frames import FramesDataset
from data.loading.overfit import FirstSamples
from data.loading.sampler import EndlessSampler
from data.loading.several import Several
from options import build_dataset, parse
from options.datasets import block_of, split_roots
from util.errors import UserError

SIZES = (20, 5)


class Numbered(ToyData):
    """Samples that say which one of which dataset they are."""

    def __init__(self, name, size, weights=None, clips=()):
        super().__init__(SimpleNamespace(samples=size, bad_sample=-1), True)
        self.name, self._weights, self._clips = name, weights, clips

    def __getitem__(self, index):
        return {"x": torch.tensor(index), "dataset": self.name, "item": self.first_item + index}

    def sample_name(self, index):
        return f"{self.name} {index}"

    def item_names(self):
        return [str(index) for index in range(len(self))]

    def weights(self):
        return self._weights

    def jobs(self):
        return [Job(name, lambda name=name: Clip(name, {}, [], Fraction(25))) for name in self._clips]


def several(block=(), weights=(None, None), **options):
    datasets = [Numbered(name, size, weight) for name, size, weight in zip("ab", SIZES, weights, strict=True)]
    return Several(datasets, [Path("x/a"), Path("x/b")], training=True, block=block, **options)


def sampler(dataset, batch=10, **options):
    return EndlessSampler(len(dataset), batch, weights=dataset.weights(), mixture=dataset.mixture(), **options)


def taken(dataset, batches, **options):
    return list(itertools.chain.from_iterable(itertools.islice(iter(sampler(dataset, **options)), batches)))


def test_shares_hold_in_every_block_and_each_dataset_goes_through_epochs_of_its_own():
    keys = taken(several((7, 3)), 40)
    for block in range(40):
        ours = [index < SIZES[0] for _, index in keys[10 * block : 10 * block + 10]]
        assert sum(ours) == 7
    for start, size in ((0, 20), (20, 5)):
        own = [(epoch, index - start) for epoch, index in keys if start <= index < start + size]
        for epoch in range(len(own) // size):
            part = own[epoch * size : (epoch + 1) * size]
            assert {each[0] for each in part} == {epoch} and sorted(each[1] for each in part) == list(range(size))
    orders = [tuple(index < 20 for _, index in keys[10 * block : 10 * block + 10]) for block in range(40)]
    assert len(set(orders)) > 10, "the order within blocks is random"


@pytest.mark.parametrize("start", [0, 4, 7, 33, 200])
def test_resuming_continues_the_stream(start):
    whole = taken(several((7, 3)), 100, batch=4)
    assert taken(several((7, 3)), 5, batch=4, start=start) == whole[start : start + 20]


@pytest.mark.parametrize(("world", "parts"), [(2, 1), (3, 2)])
def test_processes_and_micro_batches_share_the_same_steps(world, parts):
    alone = taken(several((7, 3)), 4, batch=12)
    shared = [taken(several((7, 3)), 4 * parts, batch=12, rank=rank, world=world, parts=parts) for rank in range(world)]
    size = 12 // world
    for step in range(4):
        together = [key for part in shared for key in part[size * step : size * step + size]]
        assert together == alone[12 * step : 12 * step + 12]


def test_without_shares_every_sample_comes_once_in_an_epoch():
    assert Counter(taken(several(), 5, batch=5)) == {(0, index): 1 for index in range(25)}
    counts = Counter(index for _, index in taken(several(weights=(None, [0.0, 0.0, 9.0, 0.0, 0.0])), 50))
    assert set(counts) == {*range(20), 22} and counts[22] > 100


def test_weights_of_a_dataset_hold_within_its_share():
    counts = Counter(index for _, index in taken(several((1, 1), (None, [1.0, 0.0, 0.0, 0.0, 1.0])), 100))
    assert sum(counts[index] for index in range(20)) == 500 and set(counts) == {*range(20), 20, 24}


def test_samples_know_their_dataset_and_their_number_among_all():
    dataset = pickle.loads(pickle.dumps(several((7, 3))))
    assert len(dataset) == 25 and (dataset[19]["dataset"], dataset[20]["dataset"]) == ("a", "b")
    assert [dataset[index]["item"] for index in (0, 19, 20, 24)] == [0, 19, 20, 24]
    assert dataset.sample_name(21) == "b 1"
    assert dataset.item_names()[18:22] == ["18", "19", "b/0", "b/1"]


def test_overfitting_takes_the_first_samples_and_no_shares():
    few = FirstSamples(several((7, 3)), 2, batch_size=4)
    assert few.mixture() is None and few.weights() is None and len(few) == 4
    assert {few[index]["dataset"] for index in range(4)} == {"a"}


def test_clips_are_concatenated_with_unique_names():
    datasets = [Numbered("a", 3, clips=("one", "two")), Numbered("b", 3, clips=("two",))]
    for roots, told in (("x/a", "x/b"), ("a_two", "b_two")), (("x/test", "y/test"), ("test1_two", "test2_two")):
        tested = Several(datasets, list(map(Path, roots)), training=False)
        assert [job.name for job in tested.jobs()] == ["one", *told]
        assert [clip.name for clip in tested.clips()] == ["one", *told]


def test_a_mixture_of_one_is_its_dataset():
    keys = list(itertools.islice(EndlessSampler(20, 20, mixture=Mixture([20], [1], [None])), 2))
    assert all(sorted(index for _, index in batch) == list(range(20)) for batch in keys)


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "c,d", "c"):
        (tmp_path / name / "train").mkdir(parents=True)
        (tmp_path / name / "test").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("dataroot", "roots"),
    [
        ("a", ["a"]),
        ("a,b", ["a", "b"]),
        ("a, b", ["a", "b"]),
        ("c,d", ["c,d"]),
        ("a,c,d,b", ["a", "c,d", "b"]),
        ("c,b", ["c", "b"]),
        ("a,gone", ["a", "gone"]),
        ("gone,too", ["gone,too"]),
        ("a,", ["a"]),
    ],
)
def test_an_existing_folder_with_a_comma_is_not_split(folders, dataroot, roots):
    assert split_roots(dataroot) == list(map(Path, roots))


def test_one_folder_is_read_by_its_mode_directly(folders):
    (folders / "c,d" / "train" / "clip.mp4").touch()
    dataset = build_dataset(parse(["--model=fomm", "--dataroot=c,d"], training=True), training=True)
    assert type(dataset) is FramesDataset and dataset.names == ["clip.mp4"]


@pytest.mark.parametrize(
    ("shares", "block"),
    [([0.7, 0.3], [7, 3]), ([0.5, 0.5], [1, 1]), ([0.999, 0.001], [999, 1]), ([0.25, 0.75], [1, 3])],
)
def test_shares_are_exact_in_whole_numbers(shares, block):
    assert block_of(shares, [Path("a"), Path("b")]) == block


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--dataroot=a,b", "--shares=0.7"], "--shares 0.7: 1 shares for 2 folders; --dataroot lists a, b"),
        (["--dataroot=a", "--shares=0.7,0.3"], "2 shares for 1 folders; --dataroot lists a"),
        (["--dataroot=a,b", "--shares=0.7,0.2"], "--shares 0.7,0.2: add up to 0.9; shares must add up to 1"),
        (["--dataroot=a,b", "--shares=0.9999,0.0001"], "a share must .* at most three decimals"),
        (["--dataroot=a,b,a"], "lists a twice"),
        (["--dataroot=a,gone"], "--dataroot gone: no such folder"),
        (["--dataroot=gone,too"], "--dataroot gone,too: no such folder"),
    ],
)
def test_wrong_shares_and_folders_are_reported(folders, arguments, told):
    for name in "ab":
        (folders / name / "train" / "clip.mp4").touch()
    opt = parse(["--model=fomm", *arguments], training=True)
    with pytest.raises(UserError, match=told):
        build_dataset(opt, training=True)


@pytest.mark.slow
def test_the_commands_train_resume_and_animate_on_several_folders(sample, tmp_path):
    for name, clips in (("one", "id000#0*"), ("two", "id001#0*")):
        for part, pattern in (("train", clips), ("test", "*")):
            (tmp_path / name / part).mkdir(parents=True)
            for path in sorted((sample / part).glob(f"{pattern}.mp4"))[:2]:
                (tmp_path / name / part / path.name).symlink_to(path)
    settings = ["--gpu_id=-1", "--visdom=no", "--tensorboard=no", "--nThreads=0", "--validate_every=0"]
    settings += ["--config=configs/tiny/tps.yaml", "--dataroot=one,two", "--shares=0.75,0.25", "--batch_size=4"]
    (tmp_path / "configs").symlink_to(Path(__file__).resolve().parents[3] / "configs")
    assert "on 160 samples" in run(tmp_path, *settings, "--name=whole", "--steps=3", "--print_every=1")
    run(tmp_path, *settings, "--name=halved", "--steps=1")
    run(tmp_path, "--name=halved", "--continue_train", "--steps=3", "--gpu_id=-1", "--visdom=no", "--nThreads=0")
    whole, halved = (torch.load(next((tmp_path / "result" / name).glob("latest*tar"))) for name in ("whole", "halved"))
    for entry, state in whole.items():
        if isinstance(state, dict) and entry in ("generator", "kp_detector", "dense_motion_network"):
            assert all(torch.equal(value, halved[entry][name]) for name, value in state.items()), entry
    tested = ["--name=whole", "--mode=reconstruction", "--results_dir=made", "--gpu_id=-1"]
    run(tmp_path, *tested, script="test.py")
    assert len(list((tmp_path / "made").glob("one_*.mp4"))) == len(list((tmp_path / "made").glob("two_*.mp4"))) == 2
