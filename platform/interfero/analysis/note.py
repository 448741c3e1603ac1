"""The parent run's description in the MLflow UI: question, answer, and how to repeat it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from interfero.analysis.choices import choose_learning_rates
from interfero.analysis.report_table import capacity_rows, table_caption
from interfero.engine.cells import CellRecord

MAX_CHARACTERS = 8000
"""MLflow cuts tags off at this length (`MAX_TAG_VAL_LENGTH`, MLflow 3.17)."""


def sweep_note(
    records: Sequence[CellRecord],
    command: str,
    question: str,
    seeds: Mapping[str, Sequence[int]],
    versions: Mapping[str, str],
    findings: Sequence[str],
) -> str:
    """Markdown for `mlflow.note.content`, short enough that MLflow keeps all of it.

    Where the whole table is too long, it has one adapter size a method; where that is too long
    too, it ends early and says so.

    Args:
        records: All cells of the sweep.
        command: The exact command line.
        question: What the sweep asks, one sentence.
        seeds: Kind (`data`, `init`) to the seeds that were asked for.
        versions: Library to version.
        findings: The answer in sentences.
    """
    head = [f"**{question}**", "", *(f"- {line}" for line in findings), ""]
    tail = [
        "",
        *table_caption(choose_learning_rates(records)).replace("*", r"\*").splitlines(),
        "",
        "**Reproduce**",
        "",
        *(f"    {line}" for line in command.splitlines()),
        "",
        "Seeds: "
        + "; ".join(f"{kind} {', '.join(map(str, s))}" for kind, s in seeds.items())
        + ".",
        "Versions: " + ", ".join(f"{name} {v}" for name, v in sorted(versions.items())) + ".",
    ]
    for best_size_only in (False, True):
        table = _table(records, best_size_only=best_size_only)
        note = "\n".join([*head, *table, *tail])
        if len(note) <= MAX_CHARACTERS:
            return note
    return _shortened(head, table, tail)


def _table(records: Sequence[CellRecord], *, best_size_only: bool) -> list[str]:
    """A pipe table; ranges stay on one line."""
    header, rows = capacity_rows(records, best_size_only=best_size_only)
    texts = [[cell.replace("\n", " ") for cell in line] for line in (header, *rows)]
    lines = ["| " + " | ".join(c.replace("|", r"\|") for c in line) + " |" for line in texts]
    rule = "|" + "---|" * len(header)
    title = ["Adapter size with the best validation for each method:", ""] if best_size_only else []
    return [*title, lines[0], rule, *(line.replace("*", r"\*") for line in lines[1:])]


def _shortened(head: Sequence[str], table: Sequence[str], tail: Sequence[str]) -> str:
    """Without the last rows, or, as a last resort, cut off."""
    for kept in range(len(table) - 1, 3, -1):
        left_out = f"\n{len(table) - kept} more rows are in `cells.parquet`."
        note = "\n".join([*head, *table[:kept], left_out, *tail])
        if len(note) <= MAX_CHARACTERS:
            return note
    note = "\n".join([*head, "The table is in `cells.parquet`.", *tail])
    return note if len(note) <= MAX_CHARACTERS else note[: MAX_CHARACTERS - 4] + "\n..."
