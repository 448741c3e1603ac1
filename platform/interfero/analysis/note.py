"""The parent run's description in the MLflow UI: question, answer, picture, command; the rest as it fits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote

from interfero.analysis.best import BestAdapter
from interfero.analysis.capacity_table import capacity_rows, signed, table_caption
from interfero.analysis.choices import choose_learning_rates
from interfero.metrics.names import GAIN, ROUTED
from interfero.records import CellRecord

MAX_ADAPTERS = 12
Link = Callable[[str | None, str], str]
"""From a cell's key (None: the sweep) and an artifact to an address within the UI; empty if unknown."""


def no_link(key: str | None, artifact: str) -> str:
    """Where no server is known."""
    return ""


def note_head(
    question: str, answer: Sequence[str], command: str, link: Link, picture: str, limit: int
) -> list[str]:
    """What stands first however many cells there are: question, answer, picture, command.

    Args:
        question: What the sweep asks, one sentence.
        answer: At most three sentences.
        command: The exact command line; cut where it alone would fill the page.
        link: Finds the sweep's page.
        picture: Name of a PNG among the artifacts; empty for none.
        limit: Characters of the whole note.
    """
    report = link(None, "report.html")
    where = f"[report.html]({report})" if report else "`report.html`, among the artifacts"
    lines = [f"**{question}**", "", *(f"- {line}" for line in answer), ""]
    run = link(None, "").rpartition("/")[2]
    if picture and run:
        # The UI's own pages show images that the server has, and no others.
        lines += [
            f"![{answer[0] if answer else picture}](get-artifact?path={quote(picture)}&run_uuid={run})",
            "",
        ]
    lines += [f"Everything else: {where}", "", "**Reproduce**", ""]
    room = limit - len("\n".join(lines)) - 40 - 4 * len(command.splitlines())
    shown = command if len(command) <= room else f"{command[: max(room, 0)]} ..."
    return [*lines, *(f"    {line}" for line in shown.splitlines())]


def sweep_note(
    records: Sequence[CellRecord],
    command: str,
    question: str,
    seeds: Mapping[str, Sequence[int]],
    versions: Mapping[str, str],
    answer: Sequence[str],
    limit: int,
    best: Sequence[BestAdapter] = (),
    link: Link = no_link,
    picture: str = "",
    remarks: Sequence[str] = (),
    sure: Sequence[str] = (),
) -> str:
    """Markdown for `mlflow.note.content`, short enough that MLflow keeps all of it.

    The head (see `note_head`) is always there; seeds and versions, how sure the answer is, the best adapters
    and the table follow as far as there is room. The table has one adapter size a method, ends early or is
    left out.

    Args:
        records: All cells of the sweep.
        command: The exact command line.
        question: What the sweep asks, one sentence.
        seeds: Kind (`data`, `init`) to the seeds that were asked for.
        versions: Library to version.
        answer: At most three sentences.
        limit: Characters that MLflow keeps.
        best: Adapters to name and to link.
        link: Finds their pages.
        picture: Name of the PNG that shows the answer.
        remarks: What a reader of the cells' runs has to know.
        sure: How sure the answer is, in sentences.
    """
    lines = note_head(question, answer, command, link, picture, limit)
    kinds = "; ".join(f"{kind} {', '.join(map(str, own))}" for kind, own in seeds.items())
    libraries = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    reproduce = ["", f"Seeds: {kinds}.", f"Versions: {libraries}.", *remarks]
    how_sure = ["", "**How sure that is**", "", *(f"- {line}" for line in sure)] if sure else []
    for more in (reproduce, how_sure, _best_lines(best, link)):
        if len("\n".join([*lines, *more])) <= limit:
            lines = [*lines, *more]
    caption = table_caption(choose_learning_rates(records)).replace("*", r"\*").splitlines()
    for best_size_only in (False, True):
        table = _table(records, best_size_only=best_size_only)
        note = "\n".join([*lines, "", *table, "", *caption])
        if len(note) <= limit:
            return note
    return _shortened([*lines, ""], table, caption, limit)


def _best_lines(best: Sequence[BestAdapter], link: Link) -> list[str]:
    """A line an adapter: what it is best for, its results, its run and its file."""
    if not best:
        return []
    several = len({one.rd_lambda for one in best}) > 1
    what = (
        "most gain on validation without routed forgetting, mean over seeds; the seed in the middle"
    )
    lines = ["", f"**Best adapters** ({what})", ""]
    for one in best[:MAX_ADAPTERS]:
        record = one.record
        p, metrics = record.params, record.metrics
        at = f", lambda {one.rd_lambda:g}" if several else ""
        size = f" {p['adapter_size']}" if p["adapter_size"] else ""
        # Where a cell's run has its adapter.
        artifact = f"adapter/{record.key}.safetensors" if record.adapter_file else ""
        run, file = link(record.key, ""), link(record.key, artifact)
        name = f"{p['method']}{size}, learning rate {float(p['learning_rate']):g}"
        parts = [f"[{name}]({run})" if run else f"{name} (cell {record.key})"]
        if GAIN in metrics and ROUTED in metrics:
            gain, lost = signed(metrics[GAIN]), signed(metrics[ROUTED])
            parts.append(f"gain {gain} %, forgetting {lost} %, on test")
        parts += ["the source codec is better"] if one.loses else []
        parts += ["every setting here forgets"] if one.forgets else []
        parts += [f"[adapter file]({file})"] if file else []
        lines.append(f"- {one.domain}{at}: {'; '.join(parts)}")
    if len(best) > MAX_ADAPTERS:
        lines.append(f"- {len(best) - MAX_ADAPTERS} more carry the tag `interfero.best`")
    return lines


def _table(records: Sequence[CellRecord], *, best_size_only: bool) -> list[str]:
    """A pipe table; ranges stay on one line."""
    header, rows = capacity_rows(records, best_size_only=best_size_only)
    texts = [[cell.replace("\n", " ") for cell in line] for line in (header, *rows)]
    lines = ["| " + " | ".join(c.replace("|", r"\|") for c in line) + " |" for line in texts]
    rule = "|" + "---|" * len(header)
    title = ["Adapter size with the best validation for each method:", ""] if best_size_only else []
    return [*title, lines[0], rule, *(line.replace("*", r"\*") for line in lines[1:])]


def _shortened(
    start: Sequence[str], table: Sequence[str], caption: Sequence[str], limit: int
) -> str:
    """Without the last rows, or, as a last resort, without the table."""
    for kept in range(len(table) - 1, 6, -1):
        left_out = f"\n{len(table) - kept} more rows are in `cells.parquet`."
        note = "\n".join([*start, *table[:kept], left_out, "", *caption])
        if len(note) <= limit:
            return note
    note = "\n".join([*start, "The table is in the report."])
    return note if len(note) <= limit else "\n".join(start)[:limit]
