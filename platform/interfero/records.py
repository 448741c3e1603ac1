"""The record of a cell, with its images, its curve and its times.

Records are read by everything above: the engine that writes them, tracking, and analysis.
"""

from __future__ import annotations

import math
import sys
from abc import abstractmethod
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, islice
from operator import itemgetter
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    Field,
    GetCoreSchemaHandler,
    SerializerFunctionWrapHandler,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_serializer,
)
from pydantic_core import CoreSchema, core_schema

from interfero.config import Config
from interfero.redaction import without_secrets

Point = tuple[int, dict[str, float]]
"""(step, training metrics) of a curve."""
_Value = TypeVar("_Value", str, str | int | float)
_Names = TypeVar("_Names", bound=tuple[object, ...])


class StepSetting(Config):
    """What the time of a step depends on, besides the method and its size."""

    machine: str
    """The processor, or the GPU."""
    codec: str
    """Architecture and channels of the source codec; weights do not change the time."""
    device: str
    precision: str
    threads: int
    batch_size: int
    """Crops per step, over all workers."""
    crop_size: int
    """Side of a crop in pixels."""
    workers: int = 1
    """Processes that share a batch."""
    fused: bool = False
    """Whether members of a pack may compute their steps together."""


class Timing(Config):
    """Times of one cell: means, in seconds; training without the work that the pack did once per step."""

    setting: StepSetting
    method: str
    adapter_size: int
    num_steps: int = Field(ge=0)
    """Steps that were timed; 0 where a training was taken over from another block."""
    step_seconds: float = Field(ge=0)
    """Time of this cell's step, or its share of a step computed together with other cells."""
    pack_step_seconds: float = Field(ge=0)
    """Time of the work that pack members share in a step: drawing the batch, the frozen source pass."""
    prepare_seconds: float = Field(default=0.0, ge=0)
    """Before the first step."""
    coding_seconds: float = Field(default=0.0, ge=0)
    """Saving, and coding the test images."""
    coded_megapixels: float = Field(default=0.0, ge=0)
    """Megapixels of test images that were coded; each may be coded several times. 0 if none was."""
    validation_seconds: float = Field(default=0.0, ge=0)
    validated_megapixels: float = Field(default=0.0, ge=0)
    reference_seconds: float = Field(default=0.0, ge=0)
    """Evaluating the source codec, as far as its results were not there yet."""
    reference_megapixels: float = Field(default=0.0, ge=0)


class ImageRow(Config):
    """One test image before and after adaptation."""

    role: (
        Literal["target", "source", "source_unrouted"]
        | Annotated[str, Field(pattern="^domain:.+$")]
    )
    """Which test images, and through which mode; of a sequence, `domain:` and the domain's name."""
    name: str
    group: str
    """The source image; a bootstrap draws these."""
    bpp_before: float
    psnr_db_before: float
    rd_loss_before: float
    bpp: float
    psnr_db: float
    rd_loss: float
    chroma_mse_before: float | None = None
    """Part of the mean squared error that is off the grey axis (`codecs.coding.chroma_mse`); the rest is of
    luma. Earlier records lack these three."""
    chroma_mse: float | None = None
    chroma_power: float | None = None
    """Mean square of the image's own chroma, in 8-bit levels; 0 of a grey image."""

    @model_serializer(mode="wrap")
    def _without_none(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if value is not None}


_WORDS = ("role", "name", "group")
NUMBERS = tuple(name for name in ImageRow.model_fields if name not in _WORDS)
"""Scores of a test image, before and after; those that earlier records lack come last."""
_ALWAYS = tuple(name for name in NUMBERS if ImageRow.model_fields[name].is_required())
_words_of = itemgetter(*_WORDS)


@lru_cache(maxsize=1024)
def _shared(names: _Names) -> _Names:
    """The first tuple that was equal to this one: cells of a sweep have the same test images and steps."""
    return names


class _Compact(Sequence[Any]):
    """What `ImageRows` and `Points` have in common: they compare and hash like the tuple they stand for."""

    __slots__ = ()

    def __getitem__(self, index: Any) -> Any:
        """An item, made anew at each access, or a tuple of items."""
        every = range(len(self))[index]
        return self._at(every) if isinstance(every, int) else tuple(self._at(i) for i in every)

    @abstractmethod
    def _at(self, index: int) -> Any:
        """The item at an index."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, tuple | _Compact):
            return NotImplemented
        return tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))


@dataclass(frozen=True, slots=True, eq=False)
class ImageRows(_Compact):
    """Rows of test images at 8 bytes a number: as an object, a row takes 2 to 3 KiB."""

    words: tuple[tuple[str, str, str], ...]
    """Role, name and group of each row; one tuple for all cells that have the same test images."""
    numbers: array[float]
    """Row by row, in the order of `names`; NaN where a row lacks one."""
    names: tuple[str, ...] = _ALWAYS
    """The first of `NUMBERS`."""

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]]) -> ImageRows | tuple[()]:
        """Build from rows with valid values."""
        if not rows:
            return ()
        more = any(row.get(name) is not None for row in rows for name in NUMBERS[len(_ALWAYS) :])
        names = NUMBERS if more else _ALWAYS
        values = (row.get(name) for row in rows for name in names)
        numbers = array("d", [math.nan if value is None else value for value in values])
        return cls(_shared(tuple(map(_words_of, rows))), numbers, names)

    def __len__(self) -> int:
        return len(self.words)

    def _at(self, index: int) -> ImageRow:
        return ImageRow(**self._values(index))

    def values(self) -> tuple[dict[str, Any], ...]:
        """What `model_dump` gives of each row."""
        return tuple(self._values(i) for i in range(len(self)))

    def _values(self, index: int) -> dict[str, Any]:
        start = index * len(self.names)
        numbers = self.numbers[start : start + len(self.names)]
        scores = zip(self.names, numbers, strict=True)
        known = {name: value for name, value in scores if value == value}
        return dict(zip(_WORDS, self.words[index], strict=True)) | known


@dataclass(frozen=True, slots=True, eq=False)
class Points(_Compact):
    """The points of a training curve at 8 bytes a number."""

    steps: tuple[int, ...]
    names: tuple[tuple[str, ...], ...]
    """Names of each point's metrics, in their order."""
    numbers: array[float]
    """Point by point."""

    @classmethod
    def of(cls, points: Sequence[Point]) -> Points | tuple[()]:
        """Build from points with valid values."""
        if not points:
            return ()
        steps, metrics = zip(*points, strict=True)
        numbers = [*chain.from_iterable(map(dict.values, metrics))]
        return cls(_shared(steps), _shared(tuple(map(tuple, metrics))), array("d", numbers))

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[Point]:
        numbers = iter(self.numbers)
        for step, names in zip(self.steps, self.names, strict=True):
            yield step, dict(zip(names, islice(numbers, len(names)), strict=True))

    def _at(self, index: int) -> Point:
        start = sum(map(len, self.names[:index]))
        names = self.names[index]
        numbers = self.numbers[start : start + len(names)]
        return self.steps[index], dict(zip(names, numbers, strict=True))


class _AsImageRows:
    """Validates and serialises like `tuple[ImageRow, ...]`, without making the rows."""

    def __get_pydantic_core_schema__(self, _: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        fields = {
            name: core_schema.typed_dict_field(
                handler.generate_schema(field.annotation), required=field.is_required()
            )
            for name, field in ImageRow.model_fields.items()
        }
        row = core_schema.typed_dict_schema(fields, extra_behavior="forbid")
        return _compact(
            ImageRows,
            core_schema.list_schema(row),
            core_schema.list_schema(core_schema.no_info_before_validator_function(_plain, row)),
            lambda rows: rows.values() if isinstance(rows, ImageRows) else tuple(map(_plain, rows)),
            core_schema.tuple_variable_schema(row),
        )


class _AsPoints:
    """Validates and serialises like `tuple[Point, ...]`."""

    def __get_pydantic_core_schema__(self, _: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        points = handler.generate_schema(tuple[Point, ...])
        return _compact(Points, points, points, tuple, points)


def _plain(row: Any) -> Any:
    if not isinstance(row, ImageRow):
        return row
    return {name: value for name, value in row.__dict__.items() if value is not None}


def _compact(
    kind: type[ImageRows | Points],
    json: CoreSchema,
    python: CoreSchema,
    plain: Any,
    dumped: CoreSchema,
) -> CoreSchema:
    """Schema of a compact sequence, from those of the sequence that it stands for."""

    def validate(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        return value if isinstance(value, kind) else kind.of(handler(value))

    return core_schema.json_or_python_schema(
        json_schema=core_schema.no_info_after_validator_function(kind.of, json),
        python_schema=core_schema.no_info_wrap_validator_function(validate, python),
        serialization=core_schema.plain_serializer_function_ser_schema(plain, return_schema=dumped),
    )


class SegmentedImage(Config):
    """One test image and what a segmentation model made of it, in pixels of each class."""

    name: str
    group: str
    """The source image; a bootstrap draws these."""
    hits: tuple[int, ...]
    """Predicted right."""
    labelled: tuple[int, ...]
    predicted: tuple[int, ...]


class CellRecord(Config):
    """The record of a cell."""

    key: str
    params: dict[str, str | int | float]
    """`Cell.params`."""
    status: Literal["finished", "failed", "stopped"]
    """`stopped`: a search stopped it early; it has a validation result of that step and no other."""
    metrics: dict[str, float] = Field(default_factory=dict)
    """Metrics by MLflow name; never NaN or infinite."""
    images: Annotated[Sequence[ImageRow], _AsImageRows()] = ()
    segmented: tuple[SegmentedImage, ...] = ()
    """Test images of a segmentation model's cell."""
    curve: Annotated[Sequence[Point], _AsPoints()] = ()
    """(step, training metrics), about a hundred points."""
    adapter_file: str | None = None
    """Relative to the sweep's folder."""
    sample_file: str | None = None
    """Reconstructions of its worst and median test images, relative to the sweep's folder."""
    stopped_at: int | None = None
    """Steps it had trained when a search stopped it."""
    error: str | None = None
    """Why it failed, with the step and the last finite loss; credentials are left out of it."""
    seconds: float = 0.0
    """Training and evaluation, without waiting."""
    timing: Timing | None = None
    """The same in parts, for estimates of what other cells will take."""
    started_at: float = 0.0
    """Unix time in seconds."""
    resumed_step: int = 0
    """Step its training went on from, after it had been interrupted; 0 if it began at the first step."""
    fused_members: int = 1
    """Most cells, including this one, that were ever computed together; 1 if always separate."""
    reused_from: str | None = None
    """Name of the earlier sweep that computed it."""
    provenance: dict[str, str] = Field(default_factory=dict)
    """`Cell.provenance`; earlier records lack it."""

    def model_post_init(self, context: Any, /) -> None:
        """Refuse metrics that no table can hold."""
        bad = [name for name, value in self.metrics.items() if not math.isfinite(value)]
        if bad:
            raise ValueError(f"metric {bad[0]!r} of cell {self.key} is not finite")

    @field_validator("params", "provenance")
    @classmethod
    def _shared_texts(cls, found: dict[str, _Value]) -> dict[str, _Value]:
        """Cells of a sweep repeat them: each text is kept once."""
        return {
            sys.intern(name): sys.intern(value) if type(value) is str else value
            for name, value in found.items()
        }

    @field_validator("metrics")
    @classmethod
    def _shared_names(cls, metrics: dict[str, float]) -> dict[str, float]:
        return {sys.intern(name): value for name, value in metrics.items()}

    @field_validator("error")
    @classmethod
    def _without_secrets(cls, error: str | None) -> str | None:
        """An exception may quote an address; records, tags, tables and reports all take it from here."""
        return None if error is None else without_secrets(error)
