"""What the words of a page mean, for a reader who opens it first: a table that every report has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from interfero.analysis.cells import DIVERGED
from interfero.analysis.report.method_words import METHOD_WORDS
from interfero.analysis.report.shell import Block, PageTable, Section

POINTS = "points", "percentage points"
_CODEC = (
    (
        "source codec",
        "The codec as it was before: what is adapted, and what every percent refers to.",
    ),
    ("target, source domain", "The images a codec is adapted to, and those it was made for."),
    (
        "loss",
        "Rate and distortion in one number: bits per pixel + lambda x mean squared error of 8-bit pixels, "
        "of test images that were really coded. Lambda sets the quality.",
    ),
)
ADAPTATION_TERMS = (
    *_CODEC,
    (
        "case",
        "A target domain at one number of training images, and at one source codec where there are several; "
        "seeds repeat it. Means and counts of cases are of one lambda and one number of steps.",
    ),
    (
        "crops",
        "Where a domain has few pictures: parts of them, counted as images; those of one picture are not "
        "independent.",
    ),
    (
        "points",
        "Percentage points: a gain of 2 % is 1 point less than one of 3 %.",
    ),
    ("gain", "Loss saved on the target by adapting, percent of the source codec's loss there."),
    ("forgetting, unrouted", "Loss added on source images if the adapted codec codes them too."),
    (
        "forgetting, routed",
        "The same if each image goes to the codec it belongs to. Zero for a method whose adapter can be "
        "taken off; such a method can still forget when unrouted.",
    ),
    (
        "diverged",
        f"A cell has diverged if {DIVERGED}. One that was chosen is counted and named, and in no mean over "
        "others; What was run counts all of them, chosen or not.",
    ),
    (
        "dB at equal rate",
        "The change as a mean of the images' PSNR, at the rate the source codec has. Each image counts "
        "alike; percent of the loss counts images by their error, so that the two can differ, in sign "
        "too. As in percent, a gain above zero is won, forgetting above zero is lost.",
    ),
    (
        "old exact; PSNR drop",
        "Of bitstreams that the source codec wrote, decoded by the adapted one: the share whose pixels are "
        "the same bit for bit, and the PSNR that is lost on average.",
    ),
    (
        "control (continue_source)",
        "The codec trained on with source images: what more training does by itself.",
    ),
    (
        "adapter size",
        "In the unit of the method: channels, rank, kernel side; the size with the best validation result "
        "is shown.",
    ),
    ("strength", "Weight of a method's own loss term (penalty, teacher, replay), in its own unit."),
    (
        "parameters, params",
        "Those that the method trains or adds, percent of the source codec's.",
    ),
    ("matched gain", "What methods forget where they gain equally much."),
    (
        "interval; undecided",
        "95 %, by Student's t over data seeds or, of differences between methods, by resampling seeds and "
        "pictures. Each interval is by itself. Whether a difference is decided is corrected for the number "
        "of methods compared (Holm): undecided means that chance gives as much in at least 5 % of such "
        "comparisons, so that an interval can leave zero out and the answer still be undecided.",
    ),
    (
        "log points",
        "100 times the natural logarithm of a ratio of losses: for small changes the same as percent.",
    ),
    (
        "AICc",
        "How well a law fits, less what its parameters would fit of chance; lower is better, and a "
        "difference below zero is in favour of the law. It is not enough: see held out.",
    ),
    (
        "held out",
        "The error at an axis' largest value (most images, say) of a law that was fitted without it, beside "
        "that of the mean, in natural logarithms or in log points. A law needs both, AICc and this, on its "
        "side, and domains left out too.",
    ),
    (
        "latent divergence; feature distance; loss ratio",
        "How far a domain is from the source before adapting: Jensen-Shannon divergence of the histograms of "
        "rounded latents, in bits; Frechet distance of block statistics, in standard deviations of the "
        "source; the source codec's loss on the target over that on the source.",
    ),
    (
        "bars in figures",
        "From the lowest seed to the highest, no interval; under Laws, one standard deviation of seeds.",
    ),
)
"""Of adaptation sweeps."""
SEQUENCE_TERMS = (
    *_CODEC,
    (
        "average loss",
        "Mean over the source and all domains after the last stage, percent of the source codec's loss; "
        "below 0 is better than the source codec.",
    ),
    (
        "forgetting",
        "How much worse a domain is after the last stage than it was at the best stage before, mean over the "
        "source and all domains but the last (Chaudhry et al., arXiv:1801.10112). The source codec is among "
        "the stages before: where learning a domain did harm, that counts too, though nothing changed later.",
    ),
    (
        "harm of a stage",
        "Loss that learning one domain adds to the domains met before it, the source included; "
        "mean over these, percent of the source codec's loss.",
    ),
    ("learned gain", "Loss saved on a domain right after it was learned; mean over domains."),
    (
        "intransigence",
        "What is missing right after a domain was learned, against joint training on the domains met so far; "
        "mean over domains.",
    ),
    (
        "routing",
        "Who says which adapter codes an image: an oracle that knows the domain, a gate, or trying all.",
    ),
    (
        "age",
        "Stages between the codec that coded a stream and the one that decodes it.",
    ),
    (
        "bars in figures",
        "95 % intervals over orders and seeds; under Each domain over the stages, lowest to highest chain.",
    ),
)
"""Of sweeps over sequences of domains."""
RESTORATION_TERMS = (
    (
        "O, C, R, M, A, F",
        "Original, compressed, restored images, originals mixed in, compressed at all rates, and "
        "fine-tuned. The first letter is what a model was trained on, the second what it was tested on: "
        "CO is trained on compressed images, tested on originals.",
    ),
    (
        "AO, AC",
        "One model per codec, trained on the compressed copies at all rates of the sweep; tested on "
        "originals once, and on compressed images at each rate.",
    ),
    (
        "FC, FO",
        "The model of OO, trained on for a short time on a few compressed images with their labels, tested "
        "on compressed images and on originals.",
    ),
    (
        "mean IoU",
        "Intersection over union of predicted and labelled pixels, mean over classes; 1 is best.",
    ),
    (
        "whole drop",
        "OO - CO: what a model deployed on originals loses by training on compressed images.",
    ),
    ("lost information", "OO - CC: what compression on both sides costs."),
    ("covariate shift", "CC - CO: what is lost because training and test images differ in kind."),
    (
        "share recovered",
        "(RO - CO) / (OO - CO): the part of the drop that restored training images win back, or MO and AO.",
    ),
    (
        "share recovered on compressed images",
        "(FC - OC) / (OO - OC): the part that fine-tuning wins back of what a deployed model loses on "
        "compressed images; likewise of CC, trained anew on compressed images, of AC and of RR.",
    ),
    (
        "gan, regression, nafnet",
        "How a restorer is trained: against discriminators, by the mean absolute error alone, or so with the "
        "blocks of NAFNet.",
    ),
    (
        "restorer of CODEC",
        "A restorer that learned from the images of that codec, used on those of another.",
    ),
    (
        "bars in figures",
        "95 % intervals by a paired bootstrap, filled where they do not contain zero.",
    ),
)
"""Of restoration sweeps."""


def method_terms(methods: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Each method that is known by its name, with what it does."""
    return tuple((m, METHOD_WORDS[m]) for m in dict.fromkeys(methods) if m in METHOD_WORDS)


def gloss(answer: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """What the words of an answer mean that a reader meets there first.

    Args:
        answer: Sentences.
    """
    said = re.findall(r"\w+", " ".join(answer))
    named = method_terms(said)
    return (*named, *((POINTS,) if "points" in said else ()))


def terms_section(terms: Sequence[tuple[str, str]]) -> Section:
    """The folded box of words."""
    table: Block = ("table", PageTable(["word", "meaning"], terms, 1, long=1, whole=True))
    return Section("terms", "What the words mean", [table])
