"""Models of a restoration sweep, built once before anything is trained.

A name or file that is wrong is refused by the driver, and not by the last step of a graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from interfero.adaptation import find_method
from interfero.codecs.lossy import LossyCodec, LossyLearned, Setting
from interfero.engine.node import Node
from interfero.engine.restoration.configs import RestorationConfig, SegmentationConfig
from interfero.engine.restoration.nodes import Restorer, Segmenter, TaskCodec
from interfero.errors import ConfigError
from trainables.restoration import perceptual_loss
from trainables.segmentation import build_segmenter
from trainables.task_codecs import source_codec


def check_models(nodes: Iterable[Node]) -> None:
    """Build each segmentation model once, and load the weights that restorers are judged by.

    Raises:
        ConfigError: all that cannot be built or loaded.
    """
    # A dictionary keeps the order of the plan, in which a user reads the problems.
    segmenters: dict[tuple[SegmentationConfig, int], None] = {}
    restorers: dict[RestorationConfig, None] = {}
    for node in nodes:
        match node:
            case Segmenter():
                segmenters[node.config, node.num_classes] = None
            case Restorer():
                restorers[node.config] = None
            case _:
                pass
    problems = []
    for config, num_classes in segmenters:
        try:
            build_segmenter(config, num_classes, init_seed=0)
        except ConfigError as error:
            problems.append(str(error))
    for restoration in restorers:
        try:
            perceptual_loss(restoration)
        except ConfigError as error:
            problems.append(f"--perceptual-weights: {error}")
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(problems)))


def check_adapters(nodes: Iterable[Node], codecs: Mapping[str, LossyCodec]) -> None:
    """Build each adapter of a codec once, so that none fails after hours.

    Raises:
        CodecError: a method cannot adapt the codec; names the layer.
    """
    asked = {
        (node.compressed.codec, node.config.method, node.config.adapter_size): None
        for node in nodes
        if isinstance(node, TaskCodec)
    }
    for name, method, size in asked:
        codec = codecs[name]
        # All lambdas of a codec have one architecture; the one of a rate is found later.
        value = min(codec.sources) if isinstance(codec, LossyLearned) else 0.0
        source = source_codec(codec, Setting(value, 0.0, 0.0))
        find_method(method).build(source, size, init_seed=0)


def weight_files(nodes: Iterable[Node]) -> tuple[str, ...]:
    """The local files that the configs of some nodes name."""
    configs: set[str | None] = set()
    for node in nodes:
        match node:
            case Restorer():
                configs.add(node.config.perceptual_weights)
            case Segmenter():
                configs.add(node.config.encoder_weights)
            case _:
                pass
    return tuple(sorted(path for path in configs if path is not None))
