"""What the options of an adaptation sweep name, loaded and checked before anything is planned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from interfero.adaptation import find_method
from interfero.codecs.catalogue import available_lambdas, load_codec
from interfero.codecs.codec import Codec
from interfero.domains.bundled_images import BUNDLED_IMAGES
from interfero.domains.catalogue import load_domain
from interfero.domains.domain import Domain, check_channels
from interfero.domains.graded_names import parse_graded
from interfero.domains.images import ImageRules
from interfero.domains.memory import GIB, MemoryBudget
from interfero.engine.adaptation.grid import sizes_of
from interfero.engine.options.adaptation import AdaptationOptions, mapping_of
from interfero.engine.options.base import ALL_IMAGES
from interfero.engine.options.names import Problems
from interfero.errors import ConfigError, DomainError


@dataclass(frozen=True)
class Loaded:
    """What the options of a sweep name, checked and in memory."""

    options: AdaptationOptions
    codecs: dict[float, Codec]
    """By lambda."""
    domains: dict[str, Domain]
    """Target domains by name."""
    source_domain: Domain


def load(options: AdaptationOptions) -> Loaded:
    """Load codecs and domains, and check everything that can be checked before training.

    Raises:
        ConfigError, DomainError, CodecError: all problems at once.
    """
    options.check()
    problems = Problems()
    for name in options.methods:
        problems.attempt(find_method, name)
    # A checkpoint that does not say its lambda is not what a default of --lambdas says.
    known = problems.attempt(available_lambdas, options.source)
    wanted = options.lambdas if known is not None else ()
    found = {value: problems.attempt(load_codec, options.source, value) for value in wanted}
    # Codecs of one source differ in lambda alone; those that could not be loaded are a problem already.
    channels = next((c.shape.image_channels for c in found.values() if c is not None), 3)
    rules = ImageRules(halve_jpeg=options.halve_jpeg, channels=channels)
    mapped = replace(rules, mapping=mapping_of(options))
    most = max((int(n) for n in options.num_images if n != ALL_IMAGES), default=0)
    given = options.max_domain_memory
    read = partial(load_domain, budget=MemoryBudget(None if given is None else int(given * GIB)))
    source_domain = problems.attempt(read, options.source_domain, rules)
    targets = _targets(options, partial(read, rules=mapped, num_images=most), most, problems)
    problems.check()
    assert source_domain is not None
    domains = {domain.name: domain for domain in targets if domain is not None}
    if len(domains) < len(targets):
        raise ConfigError(
            f"--domains names one domain twice: {', '.join(options.domains)}; a name stands for "
            "one domain"
        )
    for domain in (*domains.values(), source_domain):
        check_channels(domain, channels)
    for domain in domains.values():
        _check_apart(domain, source_domain)
        _check_apart(source_domain, domain)
    codecs = {value: codec for value, codec in found.items() if codec is not None}
    _check_methods(options, codecs)
    return Loaded(options, codecs, domains, source_domain)


def _targets(
    options: AdaptationOptions, read: Callable[..., Domain], most: int, problems: Problems
) -> list[Domain | None]:
    """In the order of `--domains`; drawn ones are made last, for hundreds of images take minutes.

    Raises:
        ConfigError, DomainError: all problems so far, as soon as there is one and images would be drawn.
    """
    found: dict[str, Domain | None] = {}
    for spec in sorted(options.domains, key=_is_drawn):
        if _is_drawn(spec):
            problems.check()
        domain = found[spec] = problems.attempt(partial(read, spec, data_seeds=options.data_seeds))
        if domain is not None and most:
            for seed in options.data_seeds:
                problems.attempt(domain.split, most, seed)
    return [found[spec] for spec in options.domains]


def _is_drawn(spec: str) -> bool:
    """Whether a domain draws as many images as are asked for."""
    name, path, _ = spec.partition("=")
    graded = parse_graded(name)
    names = (name,) if graded is None else (graded.base, graded.other)
    return not path and any(n in BUNDLED_IMAGES and BUNDLED_IMAGES[n].drawn for n in names)


def _check_methods(options: AdaptationOptions, codecs: Mapping[float, Codec]) -> None:
    """Refuse, before training, an architecture that a method cannot adapt."""
    for codec in codecs.values():
        for name in options.methods:
            method = find_method(name)
            if method.trains_on == "both" and options.batch_size < 2:
                raise ConfigError(
                    f"--batch-size must be 2 or more for {name}, half of whose crops come from the "
                    f"source domain; got {options.batch_size}"
                )
            method.build(codec, min(sizes_of(method, options)), 0)


def _check_apart(trained: Domain, tested: Domain) -> None:
    """Refuse test images that a method may train on under another domain's name.

    Raises:
        DomainError: names one of them.
    """
    spare = [s for samples in trained.reserve.values() for s in samples]
    copies = {s.digest: s.name for s in (*trained.train, *spare)}
    for sample in tested.test:
        if sample.digest in copies:
            raise DomainError(
                f"test image {sample.name!r} of domain {tested.name!r} is the training image "
                f"{copies[sample.digest]!r} of domain {trained.name!r}: its result would be learned by "
                "heart; remove one of them, or give both domains one folder with train/ and test/"
            )
