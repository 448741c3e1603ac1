"""What is refused before anything slow is loaded."""

import pytest

from interfero.domains import rendered
from interfero.engine.adaptation.loading import load
from interfero.errors import InterferoError


def test_too_many_images_are_refused_before_any_is_drawn(options, monkeypatch):
    """Drawing 500 pages, charts and windows took minutes before histology's 6 crops were too few."""
    monkeypatch.setattr(rendered, "extend", lambda *_: pytest.fail("images are drawn"))
    wanted = options(
        domains=("text", "histology", "charts.fog-3", "fundus"), num_images=("5", "500")
    )
    with pytest.raises(InterferoError) as refused:
        load(wanted)
    said = str(refused.value)
    assert "domain 'histology' has 6 training crops" in said
    assert "domain 'fundus' has 12 training crops" in said
    assert "asked for 500" in said


def test_domains_keep_the_order_in_which_they_were_named(options):
    loaded = load(options(domains=("text", "histology"), num_images=("5",)))
    assert list(loaded.domains) == ["text", "histology"]
