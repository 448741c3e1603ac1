"""What an adaptation sweep ends with: tables, figures, its report, the best adapters and the fronts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from interfero.analysis.about import About
from interfero.analysis.answers import Answer, Findings
from interfero.analysis.best import BestAdapter, best_adapters, best_keys, write_best
from interfero.analysis.capacity_table import failed_lines
from interfero.analysis.charts.data import RunLinks
from interfero.analysis.charts.pareto import front_figure
from interfero.analysis.next_step import next_step
from interfero.analysis.note import sweep_note
from interfero.analysis.pareto import (
    CONSTRAINED,
    FRONT_FILE,
    Front,
    front_keys,
    pareto_fronts,
    write_fronts,
)
from interfero.analysis.records import write_tables
from interfero.analysis.report.pictures import FOLDER as PICTURES_FOLDER
from interfero.analysis.report.writing import Origin, Written, write_report
from interfero.analysis.series import metric_lines
from interfero.codecs.codec import Codec
from interfero.engine.adaptation.models import registry_entries
from interfero.engine.adaptation.search import BlockSearch
from interfero.engine.ending import Ending
from interfero.engine.opening import MAX_CELLS_IN_DETAIL, PARENT_HAS
from interfero.engine.options.adaptation import AdaptationOptions
from interfero.engine.sweep_run import SweepRun
from interfero.records import CellRecord
from interfero.store.files import inside
from interfero.store.sweep import SweepStore
from interfero.tracking.names import BEST_TAG, PARETO_TAG
from interfero.tracking.provenance import provenance_tags
from interfero.tracking.summary import TEXT_LIMIT


def write_ending(
    question: str, answer: Answer, options: AdaptationOptions, run: SweepRun,
    searches: Sequence[BlockSearch], command: str, codecs: Mapping[float, Codec],
) -> Ending:  # fmt: skip
    """Write tables, figures and the report of the cells that were heard of; `codecs` by lambda."""
    store = run.store
    folder, settings = store.folder / "report", store.settings() if store.exists else {}
    about = About(
        name=store.name,
        kind=settings.get("kind", ""),
        question=question,
        # As it was begun: a resumption's own options repeat nothing.
        command=settings.get("command", command),
        versions=provenance_tags(),
    )
    tables, found = _tables(run.reported, folder, about)
    records = found.records
    fronts = pareto_fronts(records, options.max_forgetting)
    best = best_adapters(records, options.max_forgetting)
    tags = [_front_tags(fronts, front_keys(folder)), _best_tags(best, best_keys(folder))]
    origin = Origin(
        store.name,
        [about],
        RunLinks(run.tracker.run_ids),
        answer=answer.sentences(found),
        own=answer.figures,
    )
    front = front_figure(fronts)
    written = write_report(
        found, folder, origin, partial(_pictures, store), [front] if front else []
    )
    step = next_step(records, about.command)
    others = [*write_fronts(fronts, folder), *write_best(best, folder)]
    return Ending(
        answer=written.answer.sentences,
        sure=written.answer.how_sure,
        report=written.files[0],
        surer=step.reasons if step else (),
        failed=failed_lines(records),
        note=_note(options, run, records, about, written, best),
        files=[*written.files, *tables, *others],
        first_lines=search_lines(options, run, searches),
        folders={PICTURES_FOLDER: written.pictures},
        cell_tags=tags,
        series=metric_lines(records),
        models=registry_entries(best, codecs, store),
        retried=not options.searches,
    )


def _tables(
    records: Sequence[CellRecord], folder: Path, about: About
) -> tuple[list[Path], Findings]:
    """Write the tables; what follows needs no training curves, a quarter of a record."""
    tables = write_tables(records, folder, about)
    return tables, Findings([record.model_copy(update={"curve": ()}) for record in records])


def _note(
    options: AdaptationOptions, run: SweepRun, records: Sequence[CellRecord], about: About,
    written: Written, best: Sequence[BestAdapter],
) -> str:  # fmt: skip
    """What the parent run's page says."""
    return sweep_note(
        records,
        about.command,
        question=about.question,
        seeds={"data": options.data_seeds, "init": options.init_seeds},
        versions=about.versions,
        answer=written.answer.sentences,
        sure=written.answer.how_sure,
        limit=TEXT_LIMIT,
        picture=written.picture,
        best=best,
        link=run.tracker.link,
        remarks=[f"Data sets: {PARENT_HAS}."] if len(run.statuses) > MAX_CELLS_IN_DETAIL else [],
    )


def _pictures(store: SweepStore, record: CellRecord) -> Path | None:
    """A cell's reconstructions, if it kept any and they are still there."""
    path = None if record.sample_file is None else inside(store.folder, record.sample_file)
    return path if path is not None and path.is_file() else None


def _front_tags(fronts: Sequence[Front], before: set[str]) -> dict[str, dict[str, str]]:
    """Which cells are on a front, and which no longer are."""
    members = {member.key for front in fronts for member in front.members}
    return {key: {PARETO_TAG: str(key in members).lower()} for key in sorted(members | before)}


def _best_tags(best: Sequence[BestAdapter], before: set[str]) -> dict[str, dict[str, str]]:
    """Which cells are the best of their domain and lambda, and which no longer are."""
    tags = {one.record.key: f"{one.domain}, lambda {one.rd_lambda:g}" for one in best}
    return {key: {BEST_TAG: tags.get(key, "")} for key in sorted({*tags, *before})}


def search_lines(
    options: AdaptationOptions, run: SweepRun, searches: Sequence[BlockSearch]
) -> list[str]:
    """What came of the searches: how many blocks have a best cell, and how many cells were stopped early."""
    lines = []
    limit = options.max_forgetting
    bound = "" if limit is None else f" that forget {limit:g} % at most ({CONSTRAINED}, routed)"
    if searches:
        found = sum(bool(search.best_keys()) for search in searches)
        lines.append(
            f"{found} of {len(searches)} blocks have best cells{bound}: they are in {FRONT_FILE}, and have "
            f"the tag {PARETO_TAG} in MLflow"
        )
    if run.num_added:
        lines.append(
            f"{run.num_added} cells of learning rates outside of their method's own grid were added, those "
            "of longer trainings included: the best was the highest or lowest (--no-widen-rates keeps to "
            "the grid)"
        )
    if run.num_stopped:
        halving = options.sampler == "halving"
        by = "halving at fewer steps" if halving else f"{options.early_stopping}"
        lines.append(
            f"{run.num_stopped} of {len(run.statuses)} cells were stopped early by {by}: they are in no "
            "table and no figure"
        )
    return lines
