"""`interfero domains`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from interfero.domains.graded_names import NAMING, expanded, parse_graded
from interfero.domains.names import BUNDLED_NAMES, check_domain
from interfero.domains.pixel_mapping import PixelMapping, problems_of
from interfero.domains.specs import split_spec
from interfero.errors import ConfigError, DomainError, StorageError
from interfero.option_help import Said

if TYPE_CHECKING:
    from interfero.domains.domain import Domain


def domains(
    specs: Said[tyro.conf.Positional[tuple[str, ...]]] = (),
    files: bool = False,
    sheet: Path | None = Path(),
    bands: Said[tuple[int, ...]] = (),
    pixel_range: Said[tuple[float, float] | None] = None,
    window: Said[tuple[float, float] | None] = None,
    percentiles: Said[tuple[float, float] | None] = None,
) -> None:
    """List the bundled domains, or describe the given ones and write contact sheets.

    Args:
        specs: NAME, or NAME=PATH for a folder of images, a Parquet file or a .tar of WebDataset. Of each
            with a path, and of each corrupted or mixed domain (photographs.fog-3), a contact sheet is
            written. By default all bundled domains are listed.
        files: Also print the decision for each file.
        sheet: Folder for the contact sheets, NAME.sheet.png; None writes none.
        bands: As in sweeps: the bands that become the codec's channels, counted from 1; all by default.
        pixel_range: As in sweeps: the values that become 0 and 255; none are declared by default.
        window: As in sweeps: the pixel range as centre and width; none by default.
        percentiles: As in sweeps: the pixel range as percentiles of the training images' values; none by
            default.
    """
    mapping = PixelMapping(bands, pixel_range, window, percentiles)
    if wrong := problems_of(mapping):
        raise ConfigError("\n".join(wrong))
    wanted = expanded(specs) or BUNDLED_NAMES
    refused = [text for text in map(_refusal, wanted) if text is not None]
    if len(refused) == len(wanted):
        # Libraries that read images take seconds to import.
        raise DomainError("\n".join(refused))
    from rich.console import Console
    from rich.table import Table

    from interfero.domains.catalogue import decided, load_domain
    from interfero.domains.images import ImageRules

    console = Console()
    table = Table("domain", "train", "test", "unit", "hash", "notes")
    problems: list[str] = []
    said: list[str] = []
    for spec in wanted:
        try:
            domain = load_domain(spec, ImageRules(mapping=mapping))
            place = split_spec(spec).path
            is_made = place is None and parse_graded(spec) is not None
            if (place is not None or is_made) and sheet is not None:
                said.append(_sheet(domain, place, sheet))
            if place is not None and files:
                said += [f"  {line}" for line in decided(spec, ImageRules(mapping=mapping))]
        except DomainError as error:
            problems.append(str(error))
            continue
        table.add_row(*_row(domain))
    if table.row_count:
        console.print(table)
    for line in said if specs else [NAMING]:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if problems:
        raise DomainError("\n".join(problems))


def _refusal(spec: str) -> str | None:
    """Why a name or a path cannot be a domain; None where only reading it tells."""
    try:
        check_domain(spec)
    except DomainError as error:
        return str(error)
    return None


def _row(domain: Domain) -> tuple[str, ...]:
    """Of the table: a cell a column."""
    counts = str(len(domain.train)), str(len(domain.test))
    return (domain.name, *counts, domain.unit, domain.fingerprint[:12], "; ".join(domain.notes))


def _sheet(domain: Domain, place: Path | None, folder: Path) -> str:
    """Write a contact sheet; returns a line that says where, or why there is none."""
    from interfero.domains.contact_sheet import contact_sheet

    if place is not None and folder.resolve().is_relative_to(place.resolve()):
        return f"no contact sheet of {domain.name}: in its own folder it would be an image; give --sheet"
    path = folder / f"{domain.name}.sheet.png"
    image, count = contact_sheet(domain)
    try:
        image.save(path)
    except OSError as error:
        raise StorageError(
            f"the contact sheet {path} cannot be written ({error}): give a folder with --sheet, or "
            "--sheet None"
        ) from error
    return f"{path}: {count} images as the codec sees them, test images framed"
