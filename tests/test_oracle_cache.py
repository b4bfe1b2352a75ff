"""Labels kept by content: nothing computed twice, kills and damage survived, writers together."""

from __future__ import annotations

import multiprocessing
import pickle

import numpy as np
import pytest
import tiny

from uncv.data import Dataset, concatenate
from uncv.errors import OracleError
from uncv.oracles import CachedOracle, FrameOracle, LabelCache, Labels
from uncv.oracles.base import Answer
from uncv.oracles.cache import content_key


class Counting(FrameOracle):
    """E = Σ|x|²/2; knows how many frames it has computed, and fails for xenon."""

    def __init__(self, level="springs", max_force=None, *, stress=False):
        super().__init__(level, max_force, software="springs 1.2")
        self.computed = 0
        self.killed_after = None
        self.stress = stress

    def compute(self, frame):
        if self.computed == self.killed_after:
            raise KeyboardInterrupt
        self.computed += 1
        if 54 in frame.numbers:
            raise ValueError("no parameters")
        x = frame.positions[0]
        stress = np.arange(9.0).reshape(3, 3) / 7.0 if self.stress else None
        return Labels(0.5 * (x**2).sum(), -x / 3.0, stress)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "labels.jsonl"


def same(one: Dataset, two: Dataset) -> None:
    for name in ("energy", "forces", "stress"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    for name in ("label_error", "level_of_theory", "software"):
        assert one.info[name].tolist() == two.info[name].tolist()


@pytest.mark.parametrize("stress", [False, True])
def test_kept_labels_are_the_same_bit_by_bit(path, stress):
    frames, oracle = tiny.mixed(), Counting(stress=stress)
    expected = Counting(stress=stress).label(frames)
    cached = CachedOracle(oracle, path)
    same(cached.label(frames), expected)
    same(cached.label(frames), expected)
    same(CachedOracle(oracle, path).label(frames[[3, 1]]), expected[[3, 1]])
    assert oracle.computed == 4
    assert len(cached.cache) == 4
    assert cached.level_of_theory == "springs"


def test_equal_frames_of_a_batch_are_computed_once(path):
    frames, oracle = tiny.frames("CH3OH", 2), Counting()
    doubled = frames[[0, 1, 0, 0]].with_info(walker=np.arange(4))
    found = CachedOracle(oracle, path).label(doubled)
    same(found, Counting().label(doubled))
    assert oracle.computed == 2
    assert found.info["walker"].tolist() == [0, 1, 2, 3]


def test_failures_are_tried_again_and_do_not_spoil_the_batch(path):
    good = tiny.frames("H2O", 2)
    bad = Dataset([54, 1, 1], good.positions[:1])
    frames, oracle = concatenate([good, bad, bad]), Counting()
    cached = CachedOracle(oracle, path)
    same(cached.label(frames), Counting().label(frames))
    assert (oracle.computed, len(cached.cache)) == (3, 2)
    cached.label(frames)
    assert oracle.computed == 4


def test_the_limit_on_forces_holds_for_kept_labels(path):
    frame = tiny.frames("CH3OH")
    found = CachedOracle(Counting(), path).label(frame)
    largest = np.linalg.norm(found.forces[0], axis=1).max()
    strict = CachedOracle(Counting(max_force=0.9 * largest), path).label(frame)
    assert np.isnan(strict.energy[0])
    assert "the largest force is" in strict.info["label_error"][0]
    same(CachedOracle(Counting(max_force=1.1 * largest), path).label(frame), found)


def test_what_counts_as_the_same_frame():
    frame = tiny.crystal()
    numbers, x, cell, pbc = frame.numbers, frame.positions, frame.cell, frame.pbc
    key = content_key("toy", frame)
    no_minus = Dataset(numbers, np.where(np.abs(x) < 0.1, 0.0, x), cell, pbc)
    minus = Dataset(numbers, np.where(np.abs(x) < 0.1, -0.0, x), cell, pbc)
    assert content_key("toy", no_minus) == content_key("toy", minus)
    padded = concatenate([frame, tiny.frames("CH3OH")])[0]
    slab = Dataset(numbers, x, cell, [True, True, False])
    assert content_key("toy", padded) == key
    assert content_key("toy", frame.with_info(u=[3.0])) == key
    taller = cell.copy()
    taller[0, 2] *= 2.0  # along which the slab does not repeat
    assert content_key("toy", Dataset(numbers, x, taller, slab.pbc)) == content_key("toy", slab)
    moved = x.copy()
    moved[0, 1, 2] += 1e-6
    others = [
        content_key("other", frame),
        content_key("toy", slab),
        content_key("toy", Dataset(numbers[:, ::-1], x, cell)),
        content_key("toy", Dataset(numbers, moved, cell)),
        content_key("toy", Dataset(numbers, x, cell * (1 + 1e-6))),
        content_key("toy", Dataset(numbers, x)),
    ]
    assert len({key, *others}) == 7


def test_oracles_share_a_file_and_not_labels(path):
    frame = tiny.frames("H2O")
    one, two = Counting("one"), Counting("two")
    assert CachedOracle(one, path).label(frame).info["level_of_theory"][0] == "one"
    assert CachedOracle(two, path).label(frame).info["level_of_theory"][0] == "two"
    assert (one.computed, two.computed) == (1, 1)


def test_a_file_cut_at_any_byte_loses_one_label_at_most(path):
    frames, oracle = tiny.frames("H2O", 3), Counting()
    expected = CachedOracle(oracle, path).label(frames)
    content = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(content) if byte == ord("\n")]
    for cut in range(ends[0], len(content), 37):
        path.write_bytes(content[:cut])
        again = Counting()
        same(CachedOracle(again, path).label(frames), expected)
        assert again.computed == 3 - sum(end <= cut for end in ends)
        same(CachedOracle(Counting(), path).label(frames), expected)  # the mended file is whole
        assert len(LabelCache(path)) == 3


@pytest.mark.parametrize("damage", [b"\0" * 40, b'{"key": "', b"}", b"\n", b"\xff\xfe", b"1.5"])
def test_damaged_lines_are_computed_again(path, damage):
    frames = tiny.frames("H2O", 3)
    expected = CachedOracle(Counting(), path).label(frames)
    lines = path.read_bytes().split(b"\n")
    middle = len(lines[1]) // 2
    lines[1] = lines[1][:middle] + damage + lines[1][middle + len(damage) :]
    path.write_bytes(b"\n".join(lines))
    oracle = Counting()
    same(CachedOracle(oracle, path).label(frames), expected)
    assert oracle.computed == 1
    oracle = Counting()
    same(CachedOracle(oracle, path).label(frames), expected)
    assert oracle.computed == 0


def test_what_others_add_is_found(path):
    mine, theirs = LabelCache(path), LabelCache(path)
    assert mine.find("a") is None
    theirs.add("a", Answer(Labels(1.0, np.ones((1, 3))), ""))
    assert mine.find("a").labels.energy == 1.0
    path.unlink()
    assert mine.find("a") is None
    theirs.add("b", Answer(Labels(2.0, np.ones((1, 3))), ""))
    assert mine.find("b").labels.energy == 2.0


def test_labels_are_kept_one_by_one(path):
    frames, killed, oracle = tiny.frames("H2O", 4), Counting(), Counting()
    killed.killed_after = 2
    with pytest.raises(KeyboardInterrupt):
        CachedOracle(killed, path).label(frames)
    CachedOracle(oracle, path).label(frames)
    assert oracle.computed == 2


def _add_many(path, first, barrier):
    cache = LabelCache(path)
    barrier.wait()
    for number in range(first, first + 40):
        cache.add(f"{number:04}", Answer(Labels(float(number), np.full((50, 3), number)), ""))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12; nothing is shared
def test_processes_add_at_the_same_time(path):
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(3)
    workers = [context.Process(target=_add_many, args=(path, 100 * i, barrier)) for i in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    cache = LabelCache(path)
    assert len(cache) == 120
    for number in (0, 39, 117, 239):
        labels = cache.find(f"{number:04}").labels
        assert labels.energy == number
        np.testing.assert_array_equal(labels.forces, np.full((50, 3), number))


def test_it_can_be_sent_to_another_process(path):
    frames, cached = tiny.frames("H2O", 2), CachedOracle(Counting(), path)
    cached.label(frames)
    copy = pickle.loads(pickle.dumps(cached))
    copy.label(frames)
    assert copy.oracle.computed == 2
    assert copy.cache.path == path


def test_a_file_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    cached = CachedOracle(Counting(), tmp_path / "file" / "labels.jsonl")
    with pytest.raises(OracleError, match=r"cannot be added to .*the earlier ones are kept"):
        cached.label(tiny.frames("H2O"))
    with pytest.raises(ValueError, match="an answer without labels is not kept"):
        LabelCache(tmp_path / "labels.jsonl").add("a", Answer(None, "failed"))
