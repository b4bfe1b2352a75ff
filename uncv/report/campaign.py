"""The report of a campaign: one page, its figures as files, its numbers as tables."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from uncv.journal import replace_file
from uncv.plots_chart import Table
from uncv.plots_still import save_chart
from uncv.report.calibration import calibration_section
from uncv.report.chosen import chosen_section, failed_section, journal_section
from uncv.report.judged import Verdicts, judge_models
from uncv.report.maps import map_section
from uncv.report.page import Notes, Page, Section, tables_of, write_report
from uncv.report.progress import errors_section, labels_section, time_section
from uncv.report.run import RunFiles, read_run
from uncv.report.sampling import coverage_section, uncertainty_section
from uncv.report.summary import cards, facts_section, lead, warnings_section

FRAMES = 300
"""Frames of the test data that each model is judged by, if nothing else is asked for."""


@dataclass(frozen=True)
class ReportSettings:
    """What is written beside the page, and how much is evaluated for it.

    Parameters
    ----------
    images : path-like, optional
        Folder for every figure as PNG and SVG.
    data : path-like, optional
        Folder for every table as CSV, and ``report.json``.
    frames : int
        Most frames of the test data that each model is judged by; 0 evaluates no model at all.

    Raises
    ------
    ValueError
        For a negative number of frames.
    """

    images: str | Path | None = None
    data: str | Path | None = None
    frames: int = FRAMES

    def __post_init__(self) -> None:
        if self.frames < 0:
            raise ValueError(f"frames is {self.frames}; expected 0 or more")


class CampaignReport(NamedTuple):
    """What was written.

    Attributes
    ----------
    report : pathlib.Path
        The page.
    state : str
        'running', 'stopped', 'finished' or 'unknown'.
    labels, rounds : int
        Labelled frames, and rounds that were labelled, the first frames aside.
    coverage : float or None
        By all frames so far.
    energy_rmse_mev_per_atom, force_rmse_ev_per_angstrom : tuple of float or None
        Value and ends of its 95 % interval, of the newest model on the test set, or else on the
        newest labels that it was not trained on.
    judged_by : str
        Which of the two; '' if nothing was evaluated.
    warnings : tuple of str
        What a reader must know.
    images, data : tuple of pathlib.Path
        Files written beside the page.
    """

    report: Path
    state: str
    labels: int
    rounds: int
    coverage: float | None
    energy_rmse_mev_per_atom: tuple[float, float, float] | None
    force_rmse_ev_per_angstrom: tuple[float, float, float] | None
    judged_by: str
    warnings: tuple[str, ...]
    images: tuple[Path, ...]
    data: tuple[Path, ...]


def report_campaign(
    run: str | Path,
    out: str | Path | None = None,
    settings: ReportSettings | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CampaignReport:
    """Write the report of a campaign, finished or not; the run directory is only read.

    Parameters
    ----------
    run : path-like
        A run directory.
    out : path-like, optional
        The HTML file; by default ``report.html`` in the run directory. Its folder is made.
    settings : ReportSettings, optional
        Images, numbers, and how much is evaluated.
    progress : callable, optional
        Told how many models are judged, and how many there are.

    Raises
    ------
    CampaignError
        If it is no run directory, or a file cannot be written.
    """
    settings = settings or ReportSettings()
    files = read_run(run)
    verdicts = judge_models(files, settings.frames, progress or (lambda done, total: None))
    page = campaign_page(files, verdicts)
    path = Path(out) if out is not None else files.status.directory / "report.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_report(path, page)
    images = () if settings.images is None else write_images(settings.images, page.sections)
    best = (verdicts.test or verdicts.new)[-1:]
    energy, force = best[0].rmse[:2] if best else (None, None)
    found = CampaignReport(
        path,
        files.status.state,
        files.status.labels,
        files.labelled_rounds,
        files.status.coverage,
        None if energy is None else tuple(energy),  # type: ignore[arg-type]
        None if force is None else tuple(force),  # type: ignore[arg-type]
        ("test set" if verdicts.test else "new labels") if best else "",
        _warnings(page),
        images,
        (),
    )
    if settings.data is None:
        return found
    about = {**found._asdict(), "rounds": [asdict(row) for row in files.status.rounds]}
    return found._replace(data=write_data(settings.data, page.sections, about))


def campaign_page(run: RunFiles, verdicts: Verdicts) -> Page:
    """Return the page of a campaign."""
    sections = [
        facts_section(run),
        warnings_section(run, verdicts),
        labels_section(run),
        errors_section(run, verdicts),
        coverage_section(run),
        map_section(run),
        uncertainty_section(run),
        calibration_section(run, verdicts),
        chosen_section(run),
        failed_section(run),
        time_section(run),
        journal_section(run),
    ]
    return Page(f"Campaign {run.name}", lead(run), cards(run, verdicts), sections)


def write_images(folder: str | Path, sections: Sequence[Section]) -> tuple[Path, ...]:
    """Write every figure as PNG and SVG into a folder, which is made, and return the files."""
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    charts = [chart for section in sections for chart in section.charts]
    return tuple(file for chart in charts for file in save_chart(chart, place))


def write_data(
    folder: str | Path, sections: Sequence[Section], about: dict[str, Any]
) -> tuple[Path, ...]:
    """Write every table as CSV, and all of them with ``about`` as ``report.json``."""
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    tables = tables_of(sections)
    files = [place / f"{table.name}.csv" for table in tables]
    for file, table in zip(files, tables, strict=True):
        _write_csv(file, table)
    numbers = {t.name: [dict(zip(t.header, row, strict=True)) for row in t.rows] for t in tables}
    content = json.dumps(_plain({**about, "tables": numbers}), indent=1, ensure_ascii=False)
    path = place / "report.json"
    replace_file(path, lambda part: part.write_text(content, encoding="utf-8"))
    return (*files, path)


def _write_csv(path: Path, table: Table) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(table.header)
        writer.writerows([_plain(cell) for cell in row] for row in table.rows)


def _plain(value: Any) -> Any:
    """Return what JSON can hold: numbers that are not finite become null, paths text."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if hasattr(value, "item"):  # a number of NumPy
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (int, float, str, type(None))) else str(value)


def _warnings(page: Page) -> tuple[str, ...]:
    first = next(s for s in page.sections if s.title == "Warnings")
    return tuple(s for part in first.parts if isinstance(part, Notes) for s in part.sentences)
