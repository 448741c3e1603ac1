"""Plausible English: a small grammar over word lists, so that pages read like pages."""

from __future__ import annotations

from interfero.domains.rendering.dice import Dice


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


NOUNS = _words(
    "harbour river bridge engineer market signal garden window teacher museum letter station "
    "valley captain kitchen forest method surface lantern village journal factory orchard "
    "answer painter island theatre measure winter archive committee railway shadow doctor "
    "border melody ocean voyage printer number kingdom question meadow traveller cathedral "
    "figure summer council workshop pattern mountain machine notebook library blanket "
    "minister weather tunnel argument student basket chapter horizon passenger lighthouse "
    "experiment reservoir violin carriage newspaper evening colour copper instrument farmer "
    "compass glacier theory merchant staircase sample current balance quarry expedition "
    "neighbour season report balcony observatory census pavement fragment syllable treaty"
)
ADJECTIVES = _words(
    "quiet narrow early bright ancient careful northern hollow modest rapid distant polished "
    "curious heavy public silver gentle sudden rough former local empty warm broken steady "
    "simple foreign clever golden plain vivid reluctant famous shallow crowded private eastern "
    "brief honest pale familiar wooden rare open thorough ordinary remote secure tidal"
)
VERBS = _words(
    "crossed followed described measured carried opened answered painted reached repaired "
    "studied watched gathered replaced visited examined published remembered avoided shaped "
    "recorded divided delayed protected questioned improved explained discovered supported "
    "abandoned printed borrowed compared surrounded announced observed welcomed traced"
)
ADVERBS = (
    "slowly", "often", "rarely", "carefully", "again", "nearly", "at once", "quietly", "in part",
    "later", "seldom", "twice", "together", "elsewhere", "without haste", "in silence",
)  # fmt: skip
LINKS = ("near", "behind", "beyond", "under", "beside", "above", "across", "along", "outside")
OPENERS = (
    "In the end", "That year", "After the war", "By contrast", "For many reasons", "Even so",
    "At first", "On most days", "According to the survey", "Some weeks later", "As a rule",
)  # fmt: skip
JOINTS = ("and", "but", "while", "because", "although", "so that", "until", "; meanwhile,")
NAMES = _words(
    "Almeida Bergström Castellan Dubois Eriksen Fontaine Grimaldi Hartley Ivanova Jansen Kowalski "
    "Lindqvist Moreau Novak Okafor Petersen Quiroga Rossi Sørensen Takeda Ueland Vasquez Whitlock "
    "Xenakis Yilmaz Zimmermann"
)
FIRST_NAMES = _words(
    "Anna Boris Clara David Elena Felix Greta Hugo Irene Jonas Karin Leo Maria Nils Olga Paul Rosa "
    "Simon Tessa Viktor Wanda"
)
MONTHS = _words(
    "January February March April May June July August September October November December"
)


def noun_phrase(dice: Dice) -> str:
    """Such as `the narrow harbour`."""
    article = dice.pick(("the", "the", "a", "this", "every", "their", "our"))
    adjective = f"{dice.pick(ADJECTIVES)} " if dice.chance(0.55) else ""
    phrase = f"{adjective}{dice.pick(NOUNS)}"
    return f"an {phrase}" if article == "a" and phrase[0] in "aeiou" else f"{article} {phrase}"


def clause(dice: Dice) -> str:
    """A subject, a verb, an object and sometimes a place."""
    subject = noun_phrase(dice)
    if dice.chance(0.15):
        subject = f"{dice.pick(FIRST_NAMES)} {dice.pick(NAMES)}"
    adverb = f"{dice.pick(ADVERBS)} " if dice.chance(0.2) else ""
    place = f" {dice.pick(LINKS)} {noun_phrase(dice)}" if dice.chance(0.5) else ""
    return f"{subject} {adverb}{dice.pick(VERBS)} {noun_phrase(dice)}{place}"


def sentence(dice: Dice) -> str:
    """One to two clauses with a capital and a full stop."""
    text = clause(dice)
    if dice.chance(0.45):
        joint = dice.pick(JOINTS)
        text += joint if joint.startswith(";") else f", {joint}"
        text += f" {clause(dice)}"
    if dice.chance(0.2):
        text = f"{dice.pick(OPENERS)}, {text}"
    if dice.chance(0.12):
        text += f" in {dice.between(1781, 2024)}"
    return text[0].upper() + text[1:] + dice.pick(("." * 12 + "?!")[:13])


def paragraph(dice: Dice, sentences: int) -> str:
    """Several sentences."""
    return " ".join(sentence(dice) for _ in range(sentences))


def plural(noun: str) -> str:
    """Several of a noun in `NOUNS`."""
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "ch")) else "s")


def title(dice: Dice) -> str:
    """A heading of two to five words."""
    noun, other = dice.several(NOUNS, 2)
    adjective = dice.pick(ADJECTIVES)
    text = dice.pick(
        (
            f"{adjective} {plural(noun)}",
            f"the {noun} and the {other}",
            f"on {adjective} {plural(noun)}",
            f"{noun} {dice.pick(LINKS)} the {other}",
            f"a {adjective} {noun}" if adjective[0] not in "aeiou" else f"an {adjective} {noun}",
            f"notes on the {noun}",
        )
    )
    return text[0].upper() + text[1:]


def full_name(dice: Dice) -> str:
    """First and last name."""
    return f"{dice.pick(FIRST_NAMES)} {dice.pick(NAMES)}"


def date(dice: Dice) -> str:
    """Such as `3 March 1998`."""
    return f"{dice.between(1, 28)} {dice.pick(MONTHS)} {dice.between(1951, 2025)}"


def short_date(dice: Dice) -> str:
    """Such as `07.11.2019`."""
    return f"{dice.between(1, 28):02d}.{dice.between(1, 12):02d}.{dice.between(2009, 2025)}"
