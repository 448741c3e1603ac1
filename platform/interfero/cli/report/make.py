"""`interfero report`: the report of sweeps that ended long ago, from a tracking server or from tables."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from interfero.analysis.about import About, read_about
from interfero.analysis.answers import CAPACITY, Findings, answer_of
from interfero.analysis.capacity_table import counted
from interfero.analysis.charts.data import RunLinks
from interfero.analysis.charts.files import file_name, write_pictures
from interfero.analysis.charts.restoration import restoration_figures
from interfero.analysis.charts.sequence import sequence_figures
from interfero.analysis.part import part_of
from interfero.analysis.records import CELLS_FILE, PARAMS, read_records
from interfero.analysis.report.page import table_title
from interfero.analysis.report.pictures import FOLDER, Finder
from interfero.analysis.report.restoration import RestorationReport, write_restoration_report
from interfero.analysis.report.sequence import SequenceReport, write_sequence_report
from interfero.analysis.report.writing import Origin, write_report
from interfero.analysis.restoration.headline import headline
from interfero.analysis.restoration.losses import summarise
from interfero.analysis.restoration.tables import (
    IMAGES_FILE,
    is_restoration_table,
    read_restoration_records,
)
from interfero.analysis.sequence.findings import SequenceFindings
from interfero.cli.options import table_of
from interfero.cli.report.wanted import Wanted
from interfero.errors import ConfigError
from interfero.records import CellRecord
from interfero.store.files import inside

if TYPE_CHECKING:
    # MLflow takes seconds to load, and tables need none of it.
    from interfero.tracking.reading import StoredSweep


_SHARED: dict[str, object] = {
    "precision": None, "batch_size": None, "crop_size": None, "clip_norm": None, "schedule": "cosine",
    "delta_rank": 0, "max_target_images": None, "max_source_images": None,
}  # fmt: skip
"""How cells are trained and measured, as far as their losses have to do with it; what older records lack."""


Origins = dict[str, dict[str, None]]
"""A value to where its cells come from, each once and in their order."""


@dataclass
class _Found:
    """Cells, and where they come from."""

    records: dict[str, CellRecord] = field(default_factory=dict)
    """By key: a cell that several sweeps share is one."""
    abouts: list[About] = field(default_factory=list)
    runs: dict[str, str] = field(default_factory=dict)
    pictures: dict[str, Path] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    origins: dict[str, dict[str, None]] = field(default_factory=dict)
    """Key of a cell to where it comes from, for a reader."""

    def title(self, holds: str) -> str:
        """The sweeps' names, or what a table holds that names no sweep: its folder's name says nothing."""
        return ", ".join(dict.fromkeys(about.name for about in self.abouts)) or holds

    def add(self, records: Sequence[CellRecord], where: str) -> None:
        """Those that are new; cells that were stopped early are no results.

        Args:
            records: Of one sweep.
            where: They come from, for a reader.
        """
        for record in records:
            if record.status != "stopped":
                self.records.setdefault(record.key, record)
                self.origins.setdefault(record.key, {})[where] = None

    def keep(self, where: Sequence[str]) -> None:
        """Of all cells those that meet conditions; a reader is told.

        Raises:
            ConfigError: a condition is unclear, or no cell meets it.
        """
        every = list(self.records.values())
        part = part_of(every, where)
        self.records = {record.key: record for record in part}
        of = f"{len(part)} of {counted(len(every), 'cell')}"
        self.remarks.append(f"a part of the table, {of}: {' '.join(where)}")

    def check_settings(self) -> None:
        """Cells of one table that were trained in different ways get a remark: nobody can part them.

        Raises:
            ConfigError: the tables themselves are of different ways.
        """
        shared: dict[str, Origins] = defaultdict(lambda: defaultdict(dict))
        for record in self.records.values():
            for name, value in _settings(record.provenance.get("loop", "{}")):
                shared[name][value] |= self.origins[record.key]
        for name, values in shared.items():
            if len(values) < 2:
                continue
            each = "; ".join(f"{value}: {', '.join(own)}" for value, own in sorted(values.items()))
            if len({tuple(own) for own in values.values()}) == len(values):
                raise ConfigError(
                    f"these cells differ in {name} ({each}), which changes what they gain and forget as much "
                    "as a method may: make a report of each, or run one sweep again with the other's"
                )
            self.remarks.append(
                f"these cells differ in {name} ({each}): what they gain and forget is compared all the same"
            )

    @property
    def kind(self) -> str:
        """Of which sweeps these are cells.

        Raises:
            ConfigError: some are of one kind, and others of another; or of another source domain.
        """
        kinds: Origins = defaultdict(dict)
        sources: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
        for record in self.records.values():
            kinds[_kind_of(record)] |= self.origins[record.key]
            told = record.provenance
            if known := told.get("source_domain_hash", ""):
                sources[told.get("source_domain", ""), known] |= self.origins[record.key]
        if len(kinds) > 1:
            named = " and ".join(f"{kind} sweeps" for kind in sorted(kinds))
            each = "; ".join(f"{kind}: {', '.join(own)}" for kind, own in sorted(kinds.items()))
            raise ConfigError(
                f"cells of {named} have no report in common ({each}): make a report of each kind"
            )
        if len(sources) > 1:
            each = "; ".join(f"{name}: {', '.join(own)}" for (name, _), own in sources.items())
            raise ConfigError(
                "forgetting is measured on the source domain, and these cells have source domains of "
                f"different images ({each}): make a report of each"
            )
        return next(iter(kinds))


def make_report(wanted: Wanted) -> str:
    """Write the report and its figures; returns what is said on the terminal.

    Raises:
        ConfigError: the question is unclear, or there is nothing to report.
        StorageError: a table cannot be read, or the folder cannot be written.
        TrackingError: the tracking server does not answer.
    """
    wanted.check()
    with tempfile.TemporaryDirectory(prefix="interfero-report-") as folder:
        found = _Found()
        if wanted.experiment is not None:
            find = _from_tracking(found, wanted.experiment, wanted.sweeps, Path(folder))
        else:
            find = _from_tables(found, wanted.cells)
        if not found.records:
            raise ConfigError(f"{', '.join(found.names)}: no cell has ended, nothing to report")
        if wanted.where:
            found.keep(wanted.where)
        records = list(found.records.values())
        names = ", ".join(dict.fromkeys(found.names))
        out = wanted.out or Path(f"report-{file_name(names)}")
        kind = found.kind
        found.check_settings()
        if kind == "restoration":
            return _restoration_report(found, records, out, find)
        if kind == "sequence":
            return _sequence_report(found, records, out)
        findings = Findings(records)
        answer = answer_of(found.abouts[0].kind) if len(found.abouts) == 1 else CAPACITY
        origin = Origin(
            found.title(table_title(records)),
            found.abouts,
            RunLinks(found.runs),
            found.remarks,
            answer.sentences(findings),
            answer.figures,
        )
        written = write_report(findings, out, origin, find)
    return _said(written.answer.lines, written.files, records, found.remarks)


def _settings(loop: str) -> Iterator[tuple[str, str]]:
    """What is known of a cell, of the settings that all should share."""
    told = json.loads(loop)
    for name, before in _SHARED.items():
        value = told.get(name, before)
        if told and value is not None:
            yield name, str(value)


def _kind_of(record: CellRecord) -> str:
    """Of which sweeps it is a cell: `adaptation`, `restoration` or `sequence`."""
    marks = {"configuration": "restoration", "sequence": "sequence"}
    return next((kind for mark, kind in marks.items() if mark in record.params), "adaptation")


def _restoration_report(
    found: _Found, records: Sequence[CellRecord], out: Path, find: Finder
) -> str:
    summary = summarise(records)
    about = found.abouts[0] if len(found.abouts) == 1 else None
    strips = {r.key: path for r in records if (path := find(r)) is not None}
    domains = ", ".join(sorted({str(r.params["domain"]) for r in records if "domain" in r.params}))
    title = found.title(
        f"Learning from compressed images of {domains}: {counted(len(records), 'cell')}"
    )
    runs = RunLinks(found.runs)
    report = RestorationReport(title, records, summary, about, runs, strips, found.remarks)
    page = write_restoration_report(report, out)
    files = (page, *write_pictures(restoration_figures(records, summary), out))
    return _said(headline(summary), files, records, found.remarks)


def _sequence_report(found: _Found, records: Sequence[CellRecord], out: Path) -> str:
    findings, runs = SequenceFindings(records), RunLinks(found.runs)
    about = found.abouts[0] if len(found.abouts) == 1 else None
    length = findings.cases[0].case.length if findings.cases else 0
    of = f"Sequences of {counted(length, 'domain')}" if length else "Sequences of domains"
    title = found.title(f"{of}: {counted(len(records), 'cell')}")
    figures = sequence_figures(findings, runs)
    report = SequenceReport(title, findings, about, runs, found.remarks)
    page = write_sequence_report(report, out, figures)
    files = (page, *write_pictures(figures, out))
    return _said([*findings.answer, *findings.sure], files, records, found.remarks)


def _said(
    answer: Sequence[str], files: Sequence[Path], records: Sequence[CellRecord],
    remarks: Sequence[str],
) -> str:  # fmt: skip
    static = sum(path.suffix in (".png", ".svg") for path in files)
    end = f"{files[0]}: {counted(len(records), 'cell')}, {static} static figures beside it"
    return "\n".join([*answer, *(f"note: {remark}" for remark in remarks), end, ""])


def _from_tables(found: _Found, paths: Sequence[Path]) -> Finder:
    for given in paths:
        path = table_of(given)
        records = _read_table(path)
        if not records:
            raise ConfigError(
                f"--cells {given}: the table has no cells, there is nothing to report; give one of a sweep "
                "in which cells have ended"
            )
        found.add(records, str(given))
        about = read_about(path)
        found.abouts += [about] if about else []
        found.names.append(about.name if about else path.resolve().parent.name)
        for record in records:
            for candidate in _pictures_beside(path.resolve().parent, record):
                found.pictures.setdefault(record.key, candidate)
    return lambda record: found.pictures.get(record.key)


def _read_table(path: Path) -> list[CellRecord]:
    return read_restoration_records(path) if is_restoration_table(path) else read_records(path)


def _pictures_beside(folder: Path, record: CellRecord) -> list[Path]:
    """Where an export has a cell's pictures, or the sweep's folder whose report this is."""
    places = [folder / FOLDER / f"{file_name(record.key)}.png"]
    if record.sample_file:
        places.append(inside(folder.parent, record.sample_file))
    return [place for place in places if place.is_file()]


def _from_tracking(found: _Found, experiment: str, names: Sequence[str], folder: Path) -> Finder:
    from interfero.tracking.reading import TrackedSweeps, record_of

    tracked = TrackedSweeps(None, experiment)
    chosen = tracked.chosen(names)
    others = [sweep.name for sweep in tracked.sweeps if sweep not in chosen]
    if others and not names:
        found.remarks.append(
            f"{experiment} has {len(tracked.sweeps)} sweeps, this is the newest; --sweep NAME chooses: "
            f"{', '.join(others[:5])}{', ...' if len(others) > 5 else ''}"
        )
    for sweep in chosen:
        found.names.append(sweep.name)
        runs = tracked.runs(sweep)
        found.runs |= {key: run.info.run_id for key, run in runs.items()}
        table = tracked.artifact(sweep.run_id, CELLS_FILE, folder / sweep.run_id)
        if table is not None:
            # The images of a restoration sweep have a table of their own.
            tracked.artifact(sweep.run_id, IMAGES_FILE, folder / sweep.run_id)
            found.add(_read_table(table), sweep.name)
            about = read_about(table)
        else:
            records = [r for key, run in runs.items() if (r := record_of(key, run))]
            _check_kind(records, experiment)
            found.add(records, sweep.name)
            found.remarks.append(_why_runs(sweep, len(records)))
            about = None
        found.abouts.append(about or _about(sweep, experiment))

    def find(record: CellRecord) -> Path | None:
        run = found.runs.get(record.key)
        name = f"samples/{record.key}.png"
        return None if run is None else tracked.artifact(run, name, folder / run)

    return find


def _why_runs(sweep: StoredSweep, num_ended: int) -> str:
    """Why a report is made from runs, and what it lacks."""
    planned = f" of {sweep.num_cells}" if sweep.num_cells else ""
    state = (
        "is still running" if sweep.status == "RUNNING" else "has no table that can be read here"
    )
    return (
        f"{sweep.name} {state}: made from the {num_ended}{planned} cells whose runs have ended; without "
        "their test images there are no BD-rates on the source and no intervals over images"
    )


def _about(sweep: StoredSweep, kind: str) -> About:
    from interfero.tracking.names import COMMAND_TAG, KIND_TAG

    versions = {
        name: value
        for name, value in sweep.tags.items()
        if name.startswith("interfero.") and name not in (KIND_TAG, COMMAND_TAG)
    }
    command = sweep.tags.get(COMMAND_TAG, "")
    return About(name=sweep.name, kind=kind, versions=versions, command=command)


def _check_kind(records: Sequence[CellRecord], experiment: str) -> None:
    """Other sweeps have runs of other params.

    Raises:
        ConfigError: these are not of an adaptation sweep.
    """
    for record in records:
        missing = [name for name in PARAMS if name not in record.params]
        if "configuration" in record.params:
            raise ConfigError(
                f"the sweep of {experiment} has written no tables yet, and its report is made from them: "
                "wait for its end, or go on with --resume"
            )
        if missing:
            raise ConfigError(
                f"{experiment} is no adaptation sweep: its cells have no parameter {missing[0]!r}, and a "
                "report of gain and forgetting needs it"
            )
