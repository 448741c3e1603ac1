"""From what a user types to a domain: `text`, `thing=FOLDER`, `thing=FILE.parquet`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

from interfero.domains.bundled import BUNDLED
from interfero.domains.decoding import described
from interfero.domains.domain import Domain
from interfero.domains.graded_names import GradedName, graded_name
from interfero.domains.images import ImageRules
from interfero.domains.ingest import folder_source, load_source
from interfero.domains.listing import is_any_image, is_picture
from interfero.domains.memory import MemoryBudget
from interfero.domains.names import find_place, known_domains
from interfero.domains.sources import ParquetSource, Source
from interfero.domains.specs import split_spec
from interfero.domains.stretching import with_stretch
from interfero.domains.tar_shards import TarSource
from interfero.errors import DomainError, expect


def load_domain(
    spec: str,
    rules: ImageRules | None = None,
    *,
    num_images: int = 0,
    data_seeds: Sequence[int] = (0,),
    budget: MemoryBudget | None = None,
) -> Domain:
    """The domain that a user names.

    `NAME` is a bundled domain, or a folder of that name in $INTERFERO_DATA; a bundled name always
    means the bundled domain. Of such a domain `NAME.fog-3` and `NAME.mix-text-25` are others, whose shift
    is known (`graded_names`). `NAME=PATH` is a folder of images, a Parquet file, a folder of
    Parquet files, a pattern such as `shards/*.parquet`, or the same of WebDataset's .tar. What a spec
    declares of its files (`sat=FOLDER:bands=4,3,2:range=0,4095`) goes before the rules.

    Args:
        spec: `NAME` or `NAME=PATH`, with what is declared of the files.
        rules: How files become images; bundled domains have their own.
        num_images: The largest training subset that is wanted; rendered domains draw as many.
        data_seeds: The seeds it is wanted for.
        budget: Memory for decoded images; folders and Parquet that do not fit are mapped from
            files. By default what one domain may take of this machine.

    Raises:
        DomainError: no such name or path, a malformed name, or nothing usable there.
    """
    expect(spec, str, "a domain", "name it as 'text' or 'thing=FOLDER'", DomainError)
    name, path, _ = split_spec(spec)
    if path is None and name in BUNDLED:
        return BUNDLED[name].load_for(num_images, data_seeds)
    known = known_domains() if path is None else ()
    graded = graded_name(name, known) if path is None and name not in known else None
    if graded is not None:
        # In a sweep of many such domains, which have one budget, each of their bases is read once.
        load: Callable[..., Domain] = load_domain if budget is None else _loaded_once
        read = partial(
            load, rules=rules, num_images=num_images, data_seeds=tuple(data_seeds), budget=budget
        )
        return _graded(name, graded, read)
    place = _place(spec, rules or ImageRules())
    domain = load_source(place.name, place.source, place.rules, budget)
    return replace(domain, notes=(*domain.notes, *place.notes))


@lru_cache(maxsize=4)
def _loaded_once(
    spec: str, rules: ImageRules | None, num_images: int, data_seeds: tuple[int, ...],
    budget: MemoryBudget,
) -> Domain:  # fmt: skip
    return load_domain(spec, rules, num_images=num_images, data_seeds=data_seeds, budget=budget)


def _graded(name: str, graded: GradedName, read: Callable[[str], Domain]) -> Domain:
    # Most sweeps need no corruption.
    from interfero.domains.graded import corrupted, mixed

    base = read(graded.base)
    if graded.other:
        return mixed(base, read(graded.other), graded.level, name)
    return corrupted(base, graded.family, graded.level, name)


def decided(spec: str, rules: ImageRules) -> Iterator[str]:
    """File by file, what becomes of it and why, a line each, of a domain that is read from files.

    Raises:
        DomainError: see `load_domain`.
    """
    place = _place(spec, rules)
    chunks = list(place.source.chunks())
    reads = (chunk.read for chunk in chunks)
    rules = with_stretch(place.name, reads, place.source.num_images, place.rules)
    for chunk in chunks:
        yield from described(chunk.read(), rules)


class _Place(NamedTuple):
    """Where a domain's files are, and how they are read."""

    name: str
    source: Source
    rules: ImageRules
    notes: tuple[str, ...] = ()


def _place(spec: str, rules: ImageRules) -> _Place:
    name, path, tables, mapping = find_place(spec)
    rules = replace(rules, mapping=mapping.over(rules.mapping))
    return _in_tables(name, tables, rules) if tables else _in_folder(name, path, rules)


def _in_tables(name: str, paths: Sequence[Path], rules: ImageRules) -> _Place:
    """Files that hold many encoded images each, all of one kind."""
    if paths[0].suffix.lower() == ".parquet":
        return _Place(name, ParquetSource(name, tuple(paths)), rules)
    # Of a shard's samples an "array" is one of their members, not one inside of a file.
    mapping = replace(rules.mapping, array="")
    source = TarSource(name, tuple(paths), rules.mapping.array)
    return _Place(name, source, replace(rules, mapping=mapping))


def _in_folder(name: str, path: Path, rules: ImageRules) -> _Place:
    """Parquet directly in a folder goes before pictures.

    Parquet further below, then WebDataset's shards, count where no picture is.
    """
    shards = _shards(path.glob("*.parquet"))
    pictures = sum(is_picture(file) for file in (path.rglob("*") if shards else ()))
    if not shards and not any(is_picture(file) for file in path.rglob("*")):
        shards = _shards(path.rglob("*.parquet"))
        if not shards and not any(is_any_image(file) for file in path.rglob("*")):
            shards = _shards(path.rglob("*.tar"))
    if not shards:
        return _Place(name, folder_source(name, path, rules), rules)
    place = _in_tables(name, shards, rules)
    if not pictures:
        return place
    line = f"left out: {pictures} images next to {len(shards)} Parquet files, which were read"
    return place._replace(notes=(line,))


def _shards(found: Iterable[Path]) -> list[Path]:
    return sorted(p for p in found if p.is_file() and not p.name.startswith("."))
