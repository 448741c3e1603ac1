"""What adapters buy beyond refining each picture's latents, and from how many images on."""

import pytest

from interfero.analysis.sentences import summary_lines
from interfero.analysis.without_adapter import without_adapter_lines


@pytest.fixture
def cells(record):
    """Cells by method, domain and number of images, with their gains."""

    def build(gains):
        return [
            record(
                method, domain=domain, num_images=count, data_seed=seed, learning_rate=1e-3,
                metrics={"val/rd_gain_percent": gain, "target/rd_gain_percent": gain + seed},
            )
            for (method, domain), by_count in gains.items()
            for count, gain in by_count.items()
            for seed in (0, 1)
        ]  # fmt: skip

    return build


def test_from_how_many_images_on_a_method_gains_more(cells):
    found = cells({
        ("latent_refinement", "text"): {1: 5.0, 5: 5.0, 20: 5.1},
        ("latent_refinement", "charts"): {1: 8.0, 5: 8.0, 20: 8.0},
        ("finetune", "text"): {1: 2.0, 5: 6.0, 20: 9.0},
        ("finetune", "charts"): {1: 1.0, 5: 3.0, 20: 7.9},
        # Ahead, behind, and ahead again; and behind with the most alone.
        ("lora", "text"): {1: 6.0, 5: 4.0, 20: 7.0},
        ("cawf", "text"): {1: 6.0, 5: 6.0, 20: 5.0},
        ("continue_source", "text"): {1: 0.0, 5: 0.0, 20: 0.0},
    })  # fmt: skip
    assert without_adapter_lines(found) == [
        "latent_refinement needs no adapter, searches for every picture, and gains +5.50 to +8.50 %. Of the "
        "methods that adapt, finetune gains no more with 1, 5 or 20 images in charts, gains more from 5 "
        "images on in text; cawf gains more with 1 or 5 images and no more with 20 images in text; "
        "lora gains more with 1 or 20 images and no more with 5 images in text."
    ]
    assert without_adapter_lines(found)[0] in summary_lines(found)


def test_one_number_of_images_is_no_from_where_on(cells):
    (line,) = without_adapter_lines(
        cells({
            ("latent_refinement", "text"): {20: 5.0},
            ("latent_refinement", "charts"): {20: 5.0},
            ("lora", "text"): {20: 9.0},
            ("lora", "charts"): {20: 4.0},
        })
    )  # fmt: skip
    assert line.endswith(
        "lora gains no more with 20 images in charts, gains more with 20 images in text."
    )


def test_without_refinement_or_without_pairs_nothing_is_said(cells):
    assert without_adapter_lines(cells({("finetune", "text"): {20: 5.0}})) == []
    apart = {("latent_refinement", "text"): {20: 5.0}, ("finetune", "charts"): {20: 5.0}}
    assert without_adapter_lines(cells(apart)) == []
