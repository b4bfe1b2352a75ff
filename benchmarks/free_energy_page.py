"""The page of `free_energy.py` from its figures."""

from __future__ import annotations

from textwrap import fill
from typing import Any

from free_energy_amber import SCRIPT

PARTS = {
    "amber.npz": "AMBER's run",
    "potential.uncv": "training",
    "potential.npz": "the potential's",
}
PAGE = """\
# C7ax against C7eq: the potential gives AMBER's free energy

Written by `python benchmarks/free_energy.py --report docs/benchmarks` on 2 cores at 2.5 GHz, no
GPU; one thread.

Alanine dipeptide in vacuum at 300 K: {nanoseconds:g} ns of OPES on (φ, ψ) with AMBER ff14SB, in
eight walkers of {each:g} ps, and as much with a potential, an ensemble of four trained on 1,600
frames of the AMBER run with AMBER's energies and forces. Hydrogen mass 4 amu, step 2 fs, Langevin
friction 2/ps; each walker has a bias of its own, and the first {discarded:.0%} of it are left
out.

```
{script}```

C7ax is φ > 0; C7eq is φ < 0 and holds C5.

| | F(C7ax) − F(C7eq), kJ/mol | error by walkers | blocks × frames | crossings | effective frames |
|---|---|---|---|---|---|
{rows}

The potential differs from AMBER by {change:.2f} ± {change_error:.2f} kJ/mol; {bound:.1f} are
allowed (3 kJ/mol, or two standard errors): **{verdict}**. Published for ff99SB-ILDN, a relative
of ff14SB, by metadynamics: {published:g} kJ/mol. The errors beside
the differences come from blocks in time; those by walkers from the scatter of eight numbers, and
are uncertain by a quarter themselves.

The last line needs no run with the potential: frames of AMBER, their bias undone, weighted by
exp(−(E_potential − E_AMBER)/k_BT). Of {perturbation_frames} frames the bias leaves
{effective_of_bias:.0f} effective ones, and both together {effective_of_both:.0f}; E_potential −
E_AMBER scatters by {energy_spread_in_kt:.2f} k_BT. On the same frames the perturbation changes
the difference by {perturbation_change:.2f} ± {perturbation_change_error:.2f} kJ/mol: this is what
the error of the potential amounts to, free of the noise of a second run.

The surface of the potential is {surface_rmsd:.2f} kJ/mol (RMS) from AMBER's over the
{surface_cells} cells of 10° where AMBER's is below 20 kJ/mol; {surface_missing} more of these it
did not visit.

![free-energy surfaces](free_energy.png)

Minima: φ, ψ in degrees (centres of cells of 10°) and free energy in kJ/mol, from zero at the
lowest cell.

| | published, ff99SB-ILDN | {names} |
|---|---|---|---|---|
{table}

On 600 frames of the AMBER run that it was not trained on, the potential errs by
{energy_error:.2f} meV/atom and {force_error:.3f} eV/Å (RMS). The largest standard deviation of
the members' energies in a frame of its own run is {largest:.0f} meV.

Wall time, which other work on the machine lengthens: {times}.
"""


def page(
    figures: dict[str, Any],
    names: dict[str, str],
    published: dict[str, tuple[tuple[float, float], float]],
    reference: float,
    discarded: float,
) -> str:
    """Return the page as Markdown.

    Parameters
    ----------
    figures : dict
        As `free_energy_report.judge` and the main file give them.
    names : dict
        Of the three columns.
    published : dict
        Minima: φ, ψ in degrees and free energy in kJ/mol.
    reference : float
        Published difference in kJ/mol.
    discarded : float
        Share of each walker left out.
    """
    text = PAGE.format(
        **figures,
        each=figures["nanoseconds"] / 8 * 1000,
        discarded=discarded,
        script=SCRIPT,
        rows="\n".join(_row(name, figures[key]) for key, name in names.items()),
        verdict="met" if figures["met"] else "not met",
        published=reference,
        names=" | ".join(names.values()),
        table="\n".join(
            _minimum(name, place, [figures["minima"][key][name] for key in names])
            for name, place in published.items()
        ),
        energy_error=figures["errors"]["energy_rmse_mev_per_atom"],
        force_error=figures["errors"]["force_rmse_ev_per_angstrom"],
        largest=1000 * figures["largest_u_ev"],
        times=", ".join(
            f"{PARTS[name]} {s / 60:.0f} min" for name, s in figures["seconds"].items()
        ),
    )
    return "\n\n".join(_filled(part) for part in text.rstrip().split("\n\n")) + "\n"


def _filled(part: str) -> str:
    """Return a paragraph with even lines; tables, code and headings stay as they are."""
    return part if part[0] in "|#`!" else fill(part, 98, break_on_hyphens=False)


def _row(name: str, one: dict[str, Any]) -> str:
    return (
        f"| {name} | {one['difference']:.2f} ± {one['error']:.2f} | {one['walker_error']:.2f} | "
        f"{one['blocks']} × {one['block_length']} | {one['crossings']} | {one['effective']:.0f} |"
    )


def _minimum(
    name: str, published: tuple[tuple[float, float], float], found: list[tuple[float, ...]]
) -> str:
    (phi, psi), energy = published
    cells = [f"{one[0]:.0f}, {one[1]:.0f}: {one[2]:.1f} ± {one[3]:.1f}" for one in found]
    return f"| {name} | {phi:.0f}, {psi:.0f}: {energy} | " + " | ".join(cells) + " |"
