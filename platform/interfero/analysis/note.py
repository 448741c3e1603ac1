"""The parent run's description in the MLflow UI: question, answer, best adapters, how to repeat it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from interfero.analysis.best import BestAdapter
from interfero.analysis.capacity_table import capacity_rows, signed, table_caption
from interfero.analysis.choices import choose_learning_rates
from interfero.metrics.names import GAIN, ROUTED
from interfero.records import CellRecord

MAX_CHARACTERS = 5000
"""Of a tag, on every server that MLflow supports; newer ones keep 8,000."""
MAX_ADAPTERS = 12
Link = Callable[[str | None, str], str]
"""From a cell's key (None: the sweep) and an artifact to an address within the UI; empty if unknown."""


def no_link(key: str | None, artifact: str) -> str:
    """Where no server is known."""
    return ""


def sweep_note(
    records: Sequence[CellRecord],
    command: str,
    question: str,
    seeds: Mapping[str, Sequence[int]],
    versions: Mapping[str, str],
    findings: Sequence[str],
    best: Sequence[BestAdapter] = (),
    link: Link = no_link,
) -> str:
    """Markdown for `mlflow.note.content`, short enough that MLflow keeps all of it.

    How to repeat the sweep comes before what can be read elsewhere: sentences that are too many are
    left to the report, and the table has one adapter size a method, ends early or is left out.

    Args:
        records: All cells of the sweep.
        command: The exact command line.
        question: What the sweep asks, one sentence.
        seeds: Kind (`data`, `init`) to the seeds that were asked for.
        versions: Library to version.
        findings: The answer in sentences.
        best: Adapters to name and to link.
        link: Finds their pages.
    """
    report = link(None, "report.html")
    where = f"[report.html]({report})" if report else "`report.html`"
    tail = [*_best_lines(best, link), *_reproduce_lines(command, seeds, versions)]
    # The page shows four lines before one asks for more: first the question and where the answer is.
    head = [f"**{question}** Figures, curves, maps and laws: {where}, among the artifacts.", ""]
    fixed = "\n".join([*head, *tail])
    if len(fixed) > MAX_CHARACTERS:
        return fixed[: MAX_CHARACTERS - 4] + "\n..."
    head += _sentences(findings, MAX_CHARACTERS - len(fixed))
    caption = table_caption(choose_learning_rates(records)).replace("*", r"\*").splitlines()
    for best_size_only in (False, True):
        table = _table(records, best_size_only=best_size_only)
        note = "\n".join([*head, *tail, "", *table, "", *caption])
        if len(note) <= MAX_CHARACTERS:
            return note
    return _shortened([*head, *tail, ""], table, caption)


def _reproduce_lines(
    command: str, seeds: Mapping[str, Sequence[int]], versions: Mapping[str, str]
) -> list[str]:
    """How to repeat the sweep."""
    kinds = "; ".join(f"{kind} {', '.join(map(str, s))}" for kind, s in seeds.items())
    libraries = ", ".join(f"{name} {v}" for name, v in sorted(versions.items()))
    return [
        "",
        "**Reproduce**",
        "",
        *(f"    {line}" for line in command.splitlines()),
        "",
        f"Seeds: {kinds}.",
        f"Versions: {libraries}.",
    ]


def _sentences(findings: Sequence[str], room: int) -> list[str]:
    """As many as there is room for, with a word on the rest."""
    lines: list[str] = []
    room -= 60  # for that word
    for index, finding in enumerate(findings):
        room -= len(finding) + 3
        if room < 0:
            return [*lines, f"- ... {len(findings) - index} more sentences are in the report."]
        lines.append(f"- {finding}")
    return lines


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
        run, file = link(record.key, ""), link(record.key, _artifact(record))
        name = f"{p['method']}{size}, learning rate {float(p['learning_rate']):g}"
        parts = [f"[{name}]({run})" if run else f"{name} (cell {record.key})"]
        if GAIN in metrics and ROUTED in metrics:
            gain, lost = signed(metrics[GAIN]), signed(metrics[ROUTED])
            parts.append(f"gain {gain} %, forgetting {lost} %, on test")
        if one.forgets:
            parts.append("every setting here forgets")
        parts += [f"[adapter file]({file})"] if file else []
        lines.append(f"- {one.domain}{at}: {'; '.join(parts)}")
    if len(best) > MAX_ADAPTERS:
        lines.append(f"- {len(best) - MAX_ADAPTERS} more carry the tag `interfero.best`")
    return lines


def _artifact(record: CellRecord) -> str:
    """Where a cell's run has its adapter."""
    return f"adapter/{record.key}.safetensors" if record.adapter_file else ""


def _table(records: Sequence[CellRecord], *, best_size_only: bool) -> list[str]:
    """A pipe table; ranges stay on one line."""
    header, rows = capacity_rows(records, best_size_only=best_size_only)
    texts = [[cell.replace("\n", " ") for cell in line] for line in (header, *rows)]
    lines = ["| " + " | ".join(c.replace("|", r"\|") for c in line) + " |" for line in texts]
    rule = "|" + "---|" * len(header)
    title = ["Adapter size with the best validation for each method:", ""] if best_size_only else []
    return [*title, lines[0], rule, *(line.replace("*", r"\*") for line in lines[1:])]


def _shortened(start: Sequence[str], table: Sequence[str], caption: Sequence[str]) -> str:
    """Without the last rows, or, as a last resort, without the table."""
    for kept in range(len(table) - 1, 6, -1):
        left_out = f"\n{len(table) - kept} more rows are in `cells.parquet`."
        note = "\n".join([*start, *table[:kept], left_out, "", *caption])
        if len(note) <= MAX_CHARACTERS:
            return note
    note = "\n".join([*start, "The table is in the report."])
    return note if len(note) <= MAX_CHARACTERS else "\n".join(start)
