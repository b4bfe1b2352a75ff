"""Files from strangers: a pickle in any of them runs nothing, and the error says what is wrong."""

from __future__ import annotations

import io
import lzma
import os
import pickle
import shutil
import zipfile

import numpy as np
import pytest
import tiny
import torch
import yaml
from test_cli_progress import finished_run

import uncv
from uncv.analysis.surface_file import load_surface
from uncv.anharmonicity import read_harmonic
from uncv.config import load_config, make_config
from uncv.errors import ConfigError, FileFormatError, TrainingError
from uncv.exporting import export_data
from uncv.learning import learn
from uncv.learning.system import load_structure
from uncv.models import load_potential
from uncv.openmm import load_checkpoint
from uncv.scripting import from_bytes, load_module
from uncv.status import status
from uncv.training import TrainSettings, train


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder) -> None:
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.fixture
def trap(tmp_path):
    """A folder that must never appear; the test fails if it does."""
    folder = tmp_path / "executed"
    yield folder
    assert not folder.exists(), "code of the file was executed"


def evil_archive(path, trap, **values):
    torch.save({"format": "uncv-cv", "version": 1, "about": Evil(trap), **values}, path)


def evil_npz(path, trap, **arrays):
    np.savez(path, allow_pickle=True, info=np.array([Evil(trap)], dtype=object), **arrays)


def test_the_trap_works(tmp_path):
    """Otherwise the other tests would show nothing."""
    with pytest.raises(FileExistsError):
        pickle.loads(pickle.dumps(Evil(tmp_path)))
    evil_archive(tmp_path / "a.uncv", tmp_path / "one")
    torch.load(tmp_path / "a.uncv", weights_only=False)
    evil_npz(tmp_path / "a.npz", tmp_path / "two")
    np.load(tmp_path / "a.npz", allow_pickle=True)["info"]
    assert (tmp_path / "one").exists()
    assert (tmp_path / "two").exists()


@pytest.mark.parametrize("unsafe", ["0", "1"])
def test_a_collective_variable(tmp_path, trap, monkeypatch, unsafe):
    """Even where the environment asks torch to load pickles, as importing MACE does."""
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", unsafe)
    evil_archive(tmp_path / "cv.uncv", trap)
    with pytest.raises(FileFormatError, match=r"cv\.uncv is damaged or not a file of uncv"):
        uncv.UncertaintyCV.load(tmp_path / "cv.uncv")
    (tmp_path / "cv.uncv").write_bytes(pickle.dumps(Evil(trap)))
    with pytest.raises(FileFormatError, match="damaged or not a file of uncv"):
        uncv.UncertaintyCV.load(tmp_path / "cv.uncv")


def test_a_pickle_hidden_in_a_real_file(tmp_path, trap):
    """A whole file in which one value is replaced."""
    cv = tiny.cv()
    cv.save(tmp_path / "cv.uncv")
    content = torch.load(tmp_path / "cv.uncv", weights_only=True)
    for key in ("potential", "uncertainty_state", "calibrator_state"):
        torch.save({**content, key: {"x": Evil(trap)}}, tmp_path / "bad.uncv")
        with pytest.raises(FileFormatError, match="damaged or not a file of uncv"):
            uncv.UncertaintyCV.load(tmp_path / "bad.uncv")


def test_a_potential(tmp_path, trap):
    evil_archive(tmp_path / "p.pt", trap, format="uncv-potential")
    with pytest.raises(FileFormatError, match="damaged or not a file of uncv"):
        load_potential(tmp_path / "p.pt")


def test_a_checkpoint_of_a_training(tmp_path, trap):
    frames = tiny.frames(count=3)
    data = uncv.Dataset(frames.numbers, frames.positions, energy=[0.0, 1.0, 2.0],
                        forces=np.zeros(frames.positions.shape))  # fmt: skip
    evil_archive(tmp_path / "c.pt", trap, format="uncv-training")
    settings = TrainSettings(members=1, hidden=(4,), epochs=1)
    with pytest.raises((FileFormatError, TrainingError), match="damaged or not a file of uncv"):
        train(data, settings, seed=0, checkpoint=tmp_path / "c.pt")


def test_a_dataset(tmp_path, trap):
    evil_npz(tmp_path / "d.npz", trap, numbers=np.ones(1), positions=np.zeros((1, 1, 3)))
    with pytest.raises(FileFormatError, match=r"not a readable \.npz dataset .*allow_pickle=False"):
        uncv.read(tmp_path / "d.npz")
    (tmp_path / "d.npz").write_bytes(pickle.dumps(Evil(trap)))
    with pytest.raises(FileFormatError, match=r"not a readable \.npz dataset"):
        uncv.read(tmp_path / "d.npz")


def test_a_checkpoint_of_a_run_and_a_saved_surface(tmp_path, trap):
    evil_npz(tmp_path / "x.npz", trap, openmm=np.zeros(3, dtype=np.uint8))
    with pytest.raises(FileFormatError, match="is not a whole checkpoint"):
        load_checkpoint(None, tmp_path / "x.npz")
    with pytest.raises(FileFormatError, match=r"x\.npz"):
        load_surface(tmp_path / "x.npz")


def test_a_torchscript_file(tmp_path, trap):
    """Python's pickles in it are refused; what its own code may do is another matter, below."""
    archive = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), archive)
    for name in ("data.pkl", "constants.pkl"):
        changed = tmp_path / f"{name}.pt"
        with zipfile.ZipFile(archive) as old, zipfile.ZipFile(changed, "w") as new:
            for item in old.infolist():
                evil = pickle.dumps(Evil(trap), protocol=2)
                new.writestr(item, evil if item.filename.endswith(name) else old.read(item))
        with pytest.raises(FileFormatError, match="is not a TorchScript file"):
            load_module(changed)
        content = torch.frombuffer(bytearray(changed.read_bytes()), dtype=torch.uint8)
        with pytest.raises(FileFormatError, match="archive of a TorchScript module is damaged"):
            from_bytes(content)


def test_a_configuration(tmp_path, trap):
    (tmp_path / "c.yaml").write_text(f"seed: !!python/object/apply:os.mkdir ['{trap}']\n")
    with pytest.raises(ConfigError, match=r"c\.yaml is not valid YAML"):
        load_config(tmp_path / "c.yaml")


@pytest.mark.parametrize("packed", [False, True])
def test_force_constants_of_phonopy(tmp_path, trap, packed):
    """Phonopy itself reads its YAML with a loader that makes any Python object."""
    text = (
        f"%TAG !p! tag:yaml.org,2002:python/object/\n---\nphonopy: !p!apply:os.mkdir ['{trap}']\n"
    )
    path = tmp_path / ("p.yaml.xz" if packed else "p.yaml")
    path.write_bytes(lzma.compress(text.encode()) if packed else text.encode())
    with pytest.raises(FileFormatError, match=r"asks for the Python object object/apply:os\.mkdir"):
        read_harmonic(path)


def test_a_structure_in_an_old_trajectory_of_ase(tmp_path, trap):
    path = tmp_path / "old.traj"
    path.write_bytes(b"PickleTrajectory" + pickle.dumps(Evil(trap)))
    system = make_config({"system": {"structure": str(path)}}).system
    with pytest.raises(ConfigError, match=r"the structure .*old\.traj cannot be read"):
        load_structure(system)


def test_a_topology_in_hdf5_is_not_read(tmp_path):
    (tmp_path / "t.h5").touch()
    (tmp_path / "t.xtc").write_bytes(b"x")
    with pytest.raises(FileFormatError, match=r"HDF5 by PyTables may hold pickles, .* give a PDB"):
        uncv.read(tmp_path / "t.xtc", topology=tmp_path / "t.h5")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return finished_run(tmp_path_factory.mktemp("trust") / "run")


@pytest.fixture
def run(finished, tmp_path):
    """A copy of a run directory that has something left to do."""
    shutil.copytree(finished, tmp_path / "run")
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    config["budget"]["labels"] = 10
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    return tmp_path / "run"


def test_a_model_in_a_run_directory(run, trap):
    evil_archive(run / "model_round_02.uncv", trap)
    with pytest.raises(FileFormatError, match=r"model_round_02\.uncv is damaged or not a file"):
        learn(run.parent / "c.yaml", run)


def test_frames_in_a_run_directory(run, trap):
    evil_npz(run / "frames_round_01.npz", trap)
    with pytest.raises(FileFormatError, match=r"frames_round_01\.npz is not a readable \.npz"):
        learn(run.parent / "c.yaml", run)


def test_labels_in_a_run_directory(run, trap):
    (run / "labelled.extxyz").write_bytes(pickle.dumps(Evil(trap)))
    with pytest.raises(FileFormatError, match=r"labelled\.extxyz, line 1: expected the number of"):
        learn(run.parent / "c.yaml", run)
    with pytest.raises(FileFormatError, match=r"labelled\.extxyz, line 1"):
        export_data(run, run.parent / "out", "npz")


def test_the_configuration_and_journal_in_a_run_directory(run, trap):
    tagged = f"seed: !!python/object/apply:os.mkdir ['{trap}']\n"
    (run / "config.yaml").write_text(tagged)
    with (run / "journal.jsonl").open("ab") as file:
        file.write(pickle.dumps(Evil(trap)).replace(b"\n", b" ") + b"\n")
    found = status(run)
    assert found.notes == (
        "1 lines of journal.jsonl cannot be read",
        "config.yaml cannot be read, so the budget is not known",
    )
    with pytest.raises(ConfigError, match=r"config\.yaml is not valid YAML"):
        learn(run)
    with pytest.raises(FileFormatError, match=r"line \d+ of .*journal\.jsonl is damaged"):
        learn(run.parent / "c.yaml", run)


def test_looking_at_a_run_executes_nothing_that_its_configuration_names(run, trap):
    """Status and export read data; only learn and its dry run do as the configuration says."""
    (run.parent / "evil.py").write_text(f"import os\nos.mkdir({str(trap)!r})\n")
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["oracle"] = {"kind": "ase", "calculator": f"{run.parent / 'evil.py'}:make"}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert status(run).labels == 8
    export_data(run, run.parent / "out", "extxyz")
    load_config(run / "config.yaml")


# What the documentation warns of, so that it stays true.


def test_a_configuration_can_name_code(tmp_path):
    (tmp_path / "own.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'ran')!r})\n")
    config = {"oracle": {"kind": "ase", "calculator": f"{tmp_path / 'own.py'}:make"}}
    with pytest.raises(ConfigError, match="has no 'make'"):
        learn(config, tmp_path / "run")
    assert (tmp_path / "ran").exists()


def test_a_force_field_of_openmm_can_hold_code(tmp_path):
    script = f"import os; os.mkdir({str(tmp_path / 'ran')!r})"
    text = f"<ForceField><InitializationScript>{script}</InitializationScript></ForceField>"
    (tmp_path / "f.xml").write_text(text)
    config = {"oracle": {"force_field": [str(tmp_path / "f.xml")]}}
    with pytest.raises(ConfigError):
        learn(config, tmp_path / "run")
    assert (tmp_path / "ran").exists()


class Writes(torch.nn.Module):
    """TorchScript that makes a file."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mapped = torch.from_file(self.path, shared=True, size=4)
        mapped.fill_(7.0)
        return x + mapped.sum()


def test_torchscript_can_write_files_when_it_is_called(tmp_path):
    torch.jit.script(Writes(str(tmp_path / "ran"))).save(str(tmp_path / "m.pt"))
    module, _ = load_module(tmp_path / "m.pt")
    assert not (tmp_path / "ran").exists()
    module(torch.zeros(1))
    assert (tmp_path / "ran").stat().st_size == 16
