"""What a notebook needs, in one place: the code that the command line calls, with results as data frames.

`import interfero` offers these names and imports what is behind one when it is first asked for
(docs/python.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interfero.errors import (
    AdapterError,
    BitstreamError,
    CodecError,
    DomainError,
    StorageError,
    expect,
)

if TYPE_CHECKING:
    import pandas as pd

    from interfero.adaptation.deployment import StreamMode
    from interfero.adaptation.method import AdaptedCodec
    from interfero.codecs.codec import Codec
    from interfero.codecs.evaluation import Evaluation
    from interfero.domains.images import UInt8Array
    from interfero.engine.sweep import Sweep


def read_image(path: str | Path, counts: Counter[str] | None = None) -> UInt8Array:
    """Read a whole picture as (height, width, 3), 8-bit RGB, rotated as its EXIF data states.

    A domain crops a large picture to its centre and halves a JPEG; this does neither.

    Args:
        path: The image file.
        counts: Counts conversions, such as blended opacity, and pages that are left out.

    Raises:
        DomainError: the file is not an image that can be decoded.
    """
    from interfero.codecs.picture import decode_picture
    from interfero.domains.listing import shown

    expect(path, (str, Path), "path", "give the path of an image file", DomainError)
    return decode_picture(Path(path), shown(Path(path)), counts)


def load_adapter(path: str | Path, codec: Codec) -> AdaptedCodec:
    """Load the adapted codec of an adapter file, in target mode.

    Raises:
        AdapterError: the file is damaged, or was trained on another source codec.
    """
    from interfero.adaptation import adapter_file
    from interfero.codecs.codec import Codec

    expect(path, (str, Path), "path", "give the path of an adapter file", AdapterError)
    expect(codec, Codec, "codec", "load_codec(NAME, LAMBDA) loads one", CodecError)
    return adapter_file.load_adapter(Path(path), codec)[0]


def encode(
    image_HWC: UInt8Array,
    codec: Codec,
    adapters: Sequence[AdaptedCodec] = (),
    *,
    mode: StreamMode | None = None,
) -> bytes:
    """Code an image to the bytes of one container, which `decode` and `interfero decode` read.

    Args:
        image_HWC: (height, width, 3), 8-bit RGB, of any size.
        codec: The source codec.
        adapters: Adapters that target mode may use.
        mode: As `interfero encode --mode`. The default is `target` with adapters, `source` without.

    Raises:
        ConfigError: the mode is not available: it needs an adapter, or a source mode.
        BitstreamError: the image is too large, or is not 8-bit RGB.
    """
    from interfero.adaptation.deployment import Deployment

    deployment = Deployment(codec, adapters)
    chosen = mode or ("target" if adapters else "source")
    return deployment.encode(image_HWC, chosen)


def decode(data: bytes, codec: Codec, adapters: Sequence[AdaptedCodec] = ()) -> UInt8Array:
    """Decode a container to (height, width, 3) uint8, in the mode that its header names.

    Raises:
        BitstreamError: it is damaged, or needs a codec or an adapter that is not given (named in the error).
    """
    from interfero.adaptation.deployment import Deployment

    expect(
        data,
        (bytes, bytearray, memoryview),
        "data",
        "give the bytes that encode returned",
        BitstreamError,
    )
    return Deployment(codec, adapters).decode(data)


def image_frame(evaluation: Evaluation) -> pd.DataFrame:
    """Convert an evaluation to a data frame, one row per image with `bpp`, `psnr_db` and others."""
    import pandas as pd

    return pd.DataFrame([{**asdict(i), "psnr_db": i.psnr_db} for i in evaluation.images])


def load_cells(path: str | Path) -> pd.DataFrame:
    """Load the cells of a sweep, one row each: parameters, status and metrics.

    Args:
        path: `cells.parquet`, the folder that contains it, or the folder of the sweep.

    Raises:
        StorageError: there is no such table, or it is damaged.
    """
    expect(path, (str, Path), "path", "give the folder of a sweep", StorageError)
    return _frame(Path(path), "cells.parquet")


def _frame(path: Path, name: str) -> pd.DataFrame:
    import pyarrow
    import pyarrow.parquet

    if path.is_dir():
        places = (path / name, path / "report" / name)
        path = next((p for p in places if p.is_file()), places[0])
    try:
        frame: pd.DataFrame = pyarrow.parquet.read_table(path, partitioning=None).to_pandas()
    except (OSError, pyarrow.ArrowException) as error:
        raise StorageError(
            f"{path} cannot be read ({error}): give the {name} that a sweep wrote, or its folder"
        ) from error
    return frame


@dataclass(frozen=True)
class SweepResult:
    """Results of a sweep: exit code, data frames and the report."""

    exit_code: int
    """Exit code of the command: 0 done, 1 more cells failed than `max_failed`, 130 interrupted."""
    folder: Path
    """Folder with its records, adapters and `report`; a dry run leaves nothing there."""

    @property
    def cells(self) -> pd.DataFrame:
        """One row per cell: parameters, status and metrics; without cells that a search stopped early."""
        return load_cells(self.folder)

    @property
    def images(self) -> pd.DataFrame:
        """One row per cell and test image."""
        return _frame(self.folder, "images.parquet")

    @property
    def curves(self) -> pd.DataFrame:
        """One row per cell and logged training step; restoration sweeps keep none."""
        return _frame(self.folder, "curves.parquet")

    @property
    def report(self) -> Path:
        """Path of `report.html`."""
        return self.folder / "report" / "report.html"


def run_sweep(sweep: Sweep, *, quiet: bool = False, **options: Any) -> SweepResult:
    """Run a sweep as its script does, with some of its options changed; Ctrl-C keeps what is finished.

    Args:
        sweep: The sweep, such as `SWEEP` of a file in `sweeps/`.
        quiet: Print nothing.
        options: Options by their command-line names with underscores: `num_steps=50`,
            `domains=("text",)`, `storage="runs"`, `resume=True`.

    Raises:
        ConfigError: an option is unknown or cannot be run (named in the error).
        InterferoError: a codec or a domain cannot be loaded, or the storage cannot be written.
    """
    from rich.console import Console

    from interfero.engine.ending import StoppedError
    from interfero.engine.options.base import storage_folder
    from interfero.engine.sweep import run_sweep as run

    named = {"name": f"{sweep.kind}-{datetime.now(UTC):%Y%m%d-%H%M%S}", **options}
    arguments = command_arguments(sweep, named)
    try:
        code = run(sweep, arguments, Console(quiet=quiet))
    except StoppedError as error:
        raise StorageError(str(error)) from error
    chosen = sweep.options.model_copy(
        update={"storage": str(named.get("storage", sweep.options.storage))}
    )
    return SweepResult(code, storage_folder(chosen) / str(named["name"]))


def command_arguments(sweep: Sweep, options: Mapping[str, Any]) -> list[str]:
    """What to type behind a sweep's script for options that differ from its own.

    Raises:
        ConfigError: an option is unknown, or its value is of another type.
    """
    kind = type(sweep.options)
    chosen = kind(**{**dict(sweep.options), **options})
    arguments: list[str] = []
    for name in options:
        value = getattr(chosen, name)
        if value != getattr(sweep.options, name):
            arguments += _typed(name.replace("_", "-"), value)
    return arguments


def _typed(name: str, value: object) -> list[str]:
    """One option as it is typed."""
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    if isinstance(value, tuple):
        return [f"--{name}", *map(str, value)]
    return [f"--{name}", str(value)]
