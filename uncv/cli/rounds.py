"""The rounds of a campaign as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

if TYPE_CHECKING:
    from uncv.status.journal import Errors, RoundStatus

SHOWN = 20
"""Rounds that a table shows, the last ones."""


def rounds_table(rounds: Sequence[RoundStatus]) -> Table:
    """Return labels, errors, uncertainty, coverage, stops and time of the last rounds.

    Errors are root-mean-square, of energies in meV/atom and of forces in eV/Å: on the frames that
    trained, and on test data where the configuration names some, else on the validation frames.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    tested = any(r.test.energy_rmse_mev_per_atom is not None for r in rounds)
    held = "test" if tested else "valid"
    heads = ("round", "labels", "E train", f"E {held}", "F train", f"F {held}", "mean u", "cover",
             "stops", "time")  # fmt: skip
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for row in rounds[-SHOWN:]:
        table.add_row(*_cells(row, row.test if tested else row.valid))
    table.caption = "E: RMSE in meV/atom, F: RMSE in eV/Å, time in s"
    table.caption_justify = "left"
    return table


def _cells(row: RoundStatus, held: Errors) -> list[str]:
    labels = f"{row.labels}" + (f" (−{row.failed})" if row.failed else "")
    numbers = [
        row.train.energy_rmse_mev_per_atom,
        held.energy_rmse_mev_per_atom,
        row.train.force_rmse_ev_per_angstrom,
        held.force_rmse_ev_per_angstrom,
        row.mean_uncertainty,
        row.coverage,
    ]
    times = [s for s in (row.train_s, row.sample_s, row.label_s) if s is not None]
    return [
        str(row.number),
        labels,
        *("–" if value is None else f"{value:.3g}" for value in numbers),
        "–" if row.stops is None else str(row.stops),
        f"{sum(times):.1f}" if times else "–",
    ]
