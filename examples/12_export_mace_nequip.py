"""Labels for MACE and NequIP: extended XYZ with the keys that they read, and how to train on it.

    python 12_export_mace_nequip.py                           # labels made here
    python 12_export_mace_nequip.py --source campaign/run     # those of a campaign (11)

You learn export_data. What uncv labelled becomes data/train.extxyz, valid.extxyz and test.extxyz.
Energies and forces are called REF_energy and REF_forces: MACE looks for these names by default, and
ASE leaves them where they are (it takes `energy` and `forces` for results of a calculator). The
files are read back by ASE and compared number by number. Beside them lie train_mace.sh, the call of
mace_run_train (mace-torch 0.3), and nequip.yaml, a configuration for nequip-train (NequIP 0.7 and
later); both read the files as they are.

It takes seconds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import ase.io
import numpy as np
from ase.data import chemical_symbols

import uncv

MACE = """\
mace_run_train --name=exported --model=MACE --num_channels=64 --max_L=0 --r_max=5.0 \\
  --train_file=data/train.extxyz --valid_file=data/valid.extxyz --test_file=data/test.extxyz \\
  --energy_key=REF_energy --forces_key=REF_forces --E0s=average \\
  --batch_size=5 --max_num_epochs=200 --seed=0 --device=cpu --default_dtype=float64
"""
NEQUIP = """\
run: [train, test]
cutoff_radius: 5.0
chemical_symbols: [{symbols}]

data:
  _target_: nequip.data.datamodule.ASEDataModule
  seed: 0
  train_file_path: data/train.extxyz
  val_file_path: data/valid.extxyz
  test_file_path: data/test.extxyz
  key_mapping: {{REF_energy: total_energy, REF_forces: forces}}
  transforms:
    - _target_: nequip.data.transforms.ChemicalSpeciesToAtomTypeMapper
      chemical_symbols: ${{chemical_symbols}}
    - _target_: nequip.data.transforms.NeighborListTransform
      r_max: ${{cutoff_radius}}
  train_dataloader: {{_target_: torch.utils.data.DataLoader, batch_size: 5, shuffle: true}}
  val_dataloader: {{_target_: torch.utils.data.DataLoader, batch_size: 10}}
  test_dataloader: ${{data.val_dataloader}}
  stats_manager:
    _target_: nequip.data.CommonDataStatisticsManager
    dataloader_kwargs: {{batch_size: 10}}
    type_names: ${{chemical_symbols}}

trainer: {{_target_: lightning.Trainer, accelerator: cpu, max_epochs: 200}}

training_module:
  _target_: nequip.train.EMALightningModule
  ema_decay: 0.999
  loss:
    _target_: nequip.train.EnergyForceLoss
    per_atom_energy: true
    coeffs: {{total_energy: 1.0, forces: 1.0}}
  val_metrics:
    _target_: nequip.train.EnergyForceMetrics
    coeffs: {{total_energy_mae: 1.0, forces_mae: 1.0}}
  train_metrics: ${{training_module.val_metrics}}
  test_metrics: ${{training_module.val_metrics}}
  optimizer: {{_target_: torch.optim.Adam, lr: 0.01}}
  model:
    _target_: nequip.model.NequIPGNNModel
    seed: 0
    model_dtype: float32
    type_names: ${{chemical_symbols}}
    r_max: ${{cutoff_radius}}
    num_layers: 3
    l_max: 1
    num_features: 32
    avg_num_neighbors: ${{training_data_stats:num_neighbors_mean}}
    per_type_energy_scales: ${{training_data_stats:per_type_forces_rms}}
    per_type_energy_shifts: ${{training_data_stats:per_atom_energy_mean}}
"""


def labels_made_here(file: Path) -> Path:
    """Write 60 distorted frames of alanine dipeptide with AMBER labels and a split."""
    topology, start = uncv.structures.alanine_dipeptide()
    frames = uncv.perturb.draw(start, 60, uncv.perturb.Rattle(0.06), seed=0)
    labelled = uncv.oracles.OpenMMForceField(topology, "amber14/protein.ff14SB.xml").label(frames)
    split = np.repeat(["train", "valid", "test"], [40, 10, 10])
    uncv.write(file, labelled.with_info(split=split))
    return file


def check(file: Path, labelled: uncv.Dataset) -> int:
    """Compare a file, as ASE reads it, with the labels in uncv; return the number of frames."""
    energies = dict(zip(map(round_, labelled.positions), labelled.energy, strict=True))
    frames = ase.io.read(file, index=":")
    for atoms in frames:
        if atoms.info["REF_energy"] != energies[round_(atoms.positions)]:
            raise SystemExit(f"{file}: an energy differs from its label")
        if atoms.arrays["REF_forces"].shape != atoms.positions.shape:
            raise SystemExit(f"{file}: forces are missing")
    return len(frames)


def round_(positions: np.ndarray) -> bytes:
    """Return what tells a geometry from others."""
    return np.round(positions, 6).tobytes()


def main(source: Path | None, out: Path) -> None:
    """Export, check and tell how to train."""
    out.mkdir(parents=True, exist_ok=True)
    source = source or labels_made_here(out / "labelled.extxyz")
    written = uncv.export_data(source, out / "data", "extxyz")
    labelled = uncv.read(source / "labelled.extxyz" if source.is_dir() else source)
    for file in written.files:
        print(f"{file}: {check(file, labelled)} frames, REF_energy in eV, REF_forces in eV/Å")
    print(f"labels by {written.provenance.level_of_theory}")

    (out / "train_mace.sh").write_text(MACE, encoding="utf-8")
    symbols = ", ".join(chemical_symbols[z] for z in labelled.elements)
    (out / "nequip.yaml").write_text(NEQUIP.format(symbols=symbols), encoding="utf-8")
    print(f"train MACE (in {out}): bash train_mace.sh, which calls\n\n{MACE}")
    print(f"train NequIP (in {out}): nequip-train -cd . -cn nequip.yaml")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, help="a run directory or a file with labels")
    parser.add_argument("--out", type=Path, default=Path("exported"), help="folder for files")
    given = parser.parse_args()
    main(given.source, given.out)
