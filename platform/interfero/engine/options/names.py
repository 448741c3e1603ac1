"""Names and paths that options contain, looked up before anything is imported that could load them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from interfero.adaptation.support import check_methods
from interfero.codecs.names import check_codec, check_source
from interfero.domains.names import check_domain, check_labelled
from interfero.engine.options.adaptation import AdaptationOptions
from interfero.engine.options.base import SweepOptions
from interfero.engine.options.restoration import RestorationOptions
from interfero.engine.options.sequence import SequenceOptions
from interfero.engine.restoration.configs import CONFIGURATIONS
from interfero.errors import ConfigError, InterferoError

T = TypeVar("T")
_NO_FILES = ("none", "pretrained")
"""Of `--encoder-weights`."""


class Problems:
    """Collects what cannot be loaded, so that a user mends all of it at once."""

    def __init__(self) -> None:
        self._errors: list[InterferoError] = []

    def attempt(self, load: Callable[..., T], *arguments: Any) -> T | None:
        """The value, or None if it cannot be had."""
        try:
            return load(*arguments)
        except InterferoError as error:
            self._errors.append(error)
            return None

    def check(self) -> None:
        """Raise what was collected: one error as it is, several in one, each text once."""
        if len(self._errors) == 1:
            raise self._errors[0]
        if self._errors:
            raise ConfigError("\n".join(dict.fromkeys(str(e) for e in self._errors)))


def check_names(options: SweepOptions) -> None:
    """Refuse codecs, lambdas, domains and files that do not exist, and methods that do not adapt the codec.

    All in one error; reads no image and no weights.

    What loads them says the same, seconds later.

    Raises:
        ConfigError, CodecError, DomainError: names each value, and the nearest that there is.
    """
    problems = Problems()
    for check in _checks(options):
        problems.attempt(check)
    problems.check()


def check_words(options: SweepOptions) -> None:
    """Refuse configurations that there are not, with those that begin or end alike.

    Two letters have too few in common for spelling: the nearest of OX is no RO.

    Raises:
        ConfigError: names each, what there is, and what the letters mean.
    """
    if not isinstance(options, RestorationOptions):
        return
    problems = []
    for word in options.configurations:
        if word in CONFIGURATIONS:
            continue
        near = [c for c in CONFIGURATIONS if c == word.upper()]
        near = near or [c for c in CONFIGURATIONS if c[0] == word[:1].upper()]
        near = near or [c for c in CONFIGURATIONS if c[1] == word[1:2].upper()]
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        problems.append(
            f"--configurations {word!r}: {hint}known: {', '.join(CONFIGURATIONS)}; the first letter is what "
            "a model is trained on, the second what it is tested on"
        )
    if problems:
        raise ConfigError("\n".join(problems))


def _checks(options: SweepOptions) -> Iterator[Callable[[], None]]:
    if isinstance(options, AdaptationOptions):
        yield partial(check_source, options.source, options.lambdas)
        methods = (
            options.trainings.methods if isinstance(options, SequenceOptions) else options.methods
        )
        yield partial(check_methods, options.source, methods)
        for spec in (*options.domains, options.source_domain):
            yield partial(check_domain, spec)
    elif isinstance(options, RestorationOptions):
        for name in options.codecs:
            yield partial(check_codec, name)
        for spec in options.domains:
            yield partial(check_labelled, spec)
        if options.encoder_weights not in _NO_FILES:
            yield partial(_check_file, "--encoder-weights", options.encoder_weights)
        if options.perceptual_weights is not None:
            yield partial(_check_file, "--perceptual-weights", options.perceptual_weights)


def _check_file(option: str, path: str) -> None:
    if not Path(path).expanduser().exists():
        raise ConfigError(f"{option} {path} cannot be read (No such file or directory)")
