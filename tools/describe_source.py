"""Keep what distances from a map's source domain are measured from, beside the map.

    INTERFERO_DATA=FOLDER python tools/describe_source.py [CELLS]

reads a `cells.parquet`, by default the one that comes with the project, finds the source domain that its
cells name, and writes `source.safetensors` beside it, with a codec each of the map's lambdas. Codecs and
images must be the ones that the map was made with; a lambda whose codec is gone is left out, and said.
"""

from __future__ import annotations

import sys
from pathlib import Path

from interfero.analysis.records import read_records
from interfero.cli.predict.answer import MAP_FILE
from interfero.codecs.catalogue import load_codec
from interfero.codecs.codec import Codec
from interfero.codecs.source_statistics import FILE, SourceStatistics
from interfero.domains.catalogue import load_domain
from interfero.errors import CodecError, ConfigError, InterferoError


def described(path: Path) -> tuple[SourceStatistics, list[str]]:
    """The statistics of a map's source domain, and what is left out.

    Raises:
        InterferoError: the map or the source domain cannot be read, or is not the one of the map.
    """
    records = read_records(path)
    told = records[0].provenance
    source = load_domain(told["source_domain"])
    if source.fingerprint != told["source_domain_hash"]:
        raise ConfigError(
            f"source domain {source.name} is {source.fingerprint} here, the map was made with "
            f"{told['source_domain_hash']}: name the folder of that one in INTERFERO_DATA"
        )
    codecs: list[Codec] = []
    gone: list[str] = []
    hashes = {float(r.params["rd_lambda"]): r.provenance["codec_hash"] for r in records}
    for rd_lambda, wanted in sorted(hashes.items()):
        try:
            codec = load_codec(str(records[0].params["codec"]), rd_lambda)
        except CodecError as error:
            gone.append(f"lambda {rd_lambda:g} is left out: {error}")
            continue
        if codec.weights_hash == wanted:
            codecs.append(codec)
        else:
            gone.append(f"lambda {rd_lambda:g} is left out: its codec has other weights now")
    return SourceStatistics.measured(source, codecs), gone


def main() -> None:
    """Write the file, and say what it holds."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else MAP_FILE
    path = path / MAP_FILE.name if path.is_dir() else path
    try:
        statistics, gone = described(path)
        out = path.with_name(FILE)
        statistics.save(out)
    except InterferoError as error:
        sys.exit(str(error))
    for line in gone:
        sys.stdout.write(f"{line}\n")
    size = out.stat().st_size / 1024
    sys.stdout.write(
        f"{out.name}: {statistics.domain} at {len(statistics.by_codec)} codecs, {size:.0f} KiB\n"
    )


if __name__ == "__main__":
    main()
