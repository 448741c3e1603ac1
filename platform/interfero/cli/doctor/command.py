"""`interfero doctor`: every check, a table or JSON, the exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from interfero.cli.doctor.finding import Finding
from interfero.cli.doctor.libraries import check_gpus, check_python, check_torch_pair
from interfero.cli.doctor.machine import (
    check_disk,
    check_memory,
    check_shared_memory,
    check_storage,
)
from interfero.cli.doctor.services import check_ray, check_tracking
from interfero.engine.options.rules import storage_of
from interfero.option_help import Said


def doctor(
    address: Said[str | None] = None,
    storage: str = "interfero-storage",
    as_json: Annotated[bool, tyro.conf.arg(name="json"), tyro.conf.FlagCreatePairsOff] = False,
) -> None:
    """Check what a sweep needs and print a remedy for everything missing; exits with 1 if anything is.

    Args:
        address: Ray cluster to check, as a sweep's --address; the default is RAY_ADDRESS, or else Ray is
            started on this machine.
        storage: Folder to check, a path or file:///PATH, as a sweep's --storage.
        as_json: Print one JSON object instead of the table.
    """
    folder = storage_of(storage)
    with Console(stderr=True).status("checking"):
        findings = list(examine(address, folder))
    _print(findings, as_json)
    if not all(finding.ok for finding in findings):
        sys.exit(1)


def examine(address: str | None, storage: Path) -> Iterator[Finding]:
    """Every check, one after the other."""
    yield check_python()
    yield check_torch_pair()
    yield check_gpus()
    yield from check_ray(address, storage)
    yield check_tracking()
    yield check_storage(storage)
    yield check_disk(storage)
    yield check_shared_memory()
    yield check_memory()


def _print(findings: list[Finding], as_json: bool) -> None:
    if as_json:
        checks = [{**asdict(finding), "ok": finding.ok} for finding in findings]
        whole = {"ok": all(finding.ok for finding in findings), "checks": checks}
        sys.stdout.write(json.dumps(whole, indent=1) + "\n")
        return
    table = Table("check", "", "found, and what to do", show_lines=True)
    for finding in findings:
        text = Text(finding.found)
        if not finding.ok:
            text.append(f"\n-> {finding.remedy}", style="bold")
        word = Text("ok", style="green") if finding.ok else Text("FAILED", style="bold red")
        table.add_row(finding.name, word, text)
    Console().print(table)
