from dataclasses import replace

import pytest
import torch

from interfero.codecs.codec import Shape, build_model
from interfero.engine.adaptation.calibration import _extremes
from interfero.engine.adaptation.grid import grid_hyperparameters
from interfero.engine.adaptation.loading import load
from interfero.engine.adaptation.nodes import Cell
from interfero.engine.adaptation.precision import PrecisionChoice
from interfero.errors import CodecError, ConfigError, DomainError
from tests.unit.engine.conftest import plan_of


def test_the_grid_is_the_product_and_methods_without_size_run_once(plan):
    cells = plan().cells
    assert len({cell.key for cell in cells}) == len(cells) == 2 + 2 * 2
    sizes = {(c.hyperparameters.method, c.hyperparameters.adapter_size) for c in cells}
    assert sizes == {("finetune", 0), ("cawf", 1), ("cawf", 2)}


def test_all_images_and_their_number_are_one_block(plan):
    (block,) = plan(num_images=("all",)).blocks
    again = plan(num_images=("all", str(block.num_images)))
    assert again.blocks == (block,)


def test_counts_are_nested_and_share_validation(plan):
    made = plan(num_images=("2", "5", "all"))
    most = made.domains["thing"].max_images
    assert [b.num_images for b in made.blocks] == [2, 5, most]
    splits = [made.domains["thing"].split(b.num_images, b.data_seed) for b in made.blocks]
    names = [{s.name for s in split.training} for split in splits]
    assert names[0] < names[1] < names[2]
    validation = [{s.name for s in split.validation} for split in splits]
    assert validation[0] == validation[1] == validation[2] != set()
    assert not names[2] & validation[0]


def test_rendered_domains_are_drawn_until_there_are_enough(plan):
    small = plan(domains=("text",), num_images=("2", "all"))
    large = plan(domains=("text",), num_images=("2", "all", "70"), data_seeds=(0, 1))
    assert [b.num_images for b in large.blocks if b.data_seed == 1] == [2, 51, 70]
    assert {c.key for c in small.cells} < {c.key for c in large.cells}
    hashes = {(c.block.num_images, c.block.data_seed): c.identity.domain_hash for c in large.cells}
    assert hashes[2, 0] == hashes[51, 1] == large.domains["text"].fingerprint
    assert len({hashes[2, 0], hashes[70, 0], hashes[70, 1]}) == 3


def test_cells_say_whether_their_images_are_crops(plan):
    # Two crops of each source image, and rendered pages.
    made = plan(domains=("text", *plan().options.domains))
    units = {c.block.domain: c.params["image_unit"] for c in made.cells}
    assert units == {"text": "images", "thing": "crops"}


def test_more_images_than_there_are_is_refused(options):
    with pytest.raises(DomainError, match=r"has \d training crops .* asked for 11"):
        plan_of(options(num_images=("11",)))


def test_the_order_of_options_changes_no_key(plan):
    one = {c.key for c in plan(learning_rates=(1e-3, 1e-2), methods=("cawf", "finetune")).cells}
    two = {c.key for c in plan(learning_rates=(1e-2, 1e-3), methods=("finetune", "cawf")).cells}
    assert one == two


def test_the_key_follows_the_images_and_not_their_folder(plan, options, tmp_path, image_folder):
    before = {c.key for c in plan().cells}
    copy = tmp_path / "elsewhere"
    copy.mkdir()
    for path in image_folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    assert {c.key for c in plan(domains=(f"thing={copy}",)).cells} == before
    first, last = sorted(copy.iterdir())[0], sorted(copy.iterdir())[-1]
    first.write_bytes(last.read_bytes())
    assert not {c.key for c in plan(domains=(f"thing={copy}",)).cells} & before


def test_packs_hold_every_cell_once_the_largest_first(plan):
    made = plan(adapter_sizes=(1, 2, 4, 8, 16), max_concurrent=1)
    packs = made.cell_packs(made.cells)
    assert [len(p.nodes) for p in packs] == [5, 5, 2]
    assert sorted(c.key for p in packs for c in p.nodes) == sorted(c.key for c in made.cells)
    alone = plan(adapter_sizes=(1, 2, 4, 8, 16), packs=False)
    assert [len(p.nodes) for p in alone.cell_packs(alone.cells)] == 12 * [1]


def test_memory_bounds_packs(plan):
    made = plan(adapter_sizes=(1, 2, 4, 8), max_concurrent=1)
    needed = made.footprints["cawf"]
    tight = replace(made, room=needed.of_pack(3))
    assert [len(p.nodes) for p in tight.cell_packs(tight.cells) if _is(p, "cawf")] == [3, 3, 2]
    unknown = replace(made, room=None)
    assert [len(p.nodes) for p in unknown.cell_packs(unknown.cells) if _is(p, "cawf")] == [8]


def _is(pack, method):
    return pack.nodes[0].hyperparameters.method == method


def test_what_does_not_fit_even_alone_is_refused_with_its_figure(plan):
    made = plan()
    made.check()
    replace(made, room=None).check()
    largest = max(f.of_pack(1) for f in made.footprints.values())
    replace(made, room=largest).check()
    with pytest.raises(
        ConfigError, match=r"one cell of \w+ needs about \d+ MiB .* lower --max-conc"
    ):
        replace(made, room=largest - 1).check()
    # A plan for another machine can still be read.
    assert [len(p.nodes) for p in replace(made, room=0).cell_packs(made.cells)] == 6 * [1]


def test_a_cluster_decides_how_many_packs_train_at_once(plan):
    made = plan(address="ray://head:10001", adapter_sizes=(1, 2, 4, 8))
    assert (made.at_once, made.room) == (None, None)
    assert len(made.cell_packs(made.cells)) == 2
    assert len(made.cell_packs(made.cells, at_once=10)) == 10


def test_packs_change_no_key(plan):
    together, alone = plan(), plan(packs=False)
    assert {c.key for c in together.cells} == {c.key for c in alone.cells}


def test_a_sampler_leaves_the_cells_open(plan):
    made = plan(sampler="tpe", num_samples=5, num_images=("2", "all"))
    assert made.cells == ()
    assert made.num_cells == 10
    point = grid_hyperparameters(made.options)[0]
    assert isinstance(made.cell(made.blocks[0], point), Cell)


def test_all_that_cannot_be_loaded_is_said_at_once(options):
    wrong = options(domains=("histolgy", "nowhere=/nowhere"), lambdas=(0.5,))
    with pytest.raises(ConfigError) as caught:
        plan_of(wrong)
    for said in ("did you mean 'histology'", "/nowhere", "lambda 0.5"):
        assert said in str(caught.value)


def test_one_problem_keeps_its_kind(options):
    with pytest.raises(CodecError, match=r"no weights for lambda 0\.5"):
        plan_of(options(lambdas=(0.5,)))


def test_one_name_for_two_domains_is_refused(options, image_folder, other_image_folder):
    twice = (f"thing={image_folder}", f"thing={other_image_folder}")
    with pytest.raises(ConfigError, match="names one domain twice"):
        plan_of(options(domains=twice))


def test_the_chosen_precision_is_in_the_key(options):
    choices = [PrecisionChoice(p, "because") for p in ("float32", "bfloat16")]
    plans = [plan_of(options(), choice) for choice in choices]
    assert [plan.loop.precision for plan in plans] == ["float32", "bfloat16"]
    assert plans[0].precision.reason == "because"
    assert not {c.key for c in plans[0].cells} & {c.key for c in plans[1].cells}


@pytest.mark.parametrize("method", ["replay", "gated_adapters"])
def test_half_a_batch_of_one_is_refused(options, method):
    with pytest.raises(ConfigError, match=f"--batch-size must be 2 or more for {method}"):
        plan_of(options(methods=(method,), batch_size=1))


def test_each_method_takes_the_sizes_and_strengths_it_has(options):
    methods = ("finetune", "residual_adapter", "cawf", "ewc", "gated_adapters")
    asked = options(methods=methods, adapter_sizes=(1, 2, 3), strengths=(0.1, 10.0))
    points = [(p.method, p.adapter_size, p.strength) for p in grid_hyperparameters(asked)]
    assert list(dict.fromkeys(points)) == [
        ("finetune", 0, 0.0),
        ("residual_adapter", 1, 0.0), ("residual_adapter", 3, 0.0),
        ("cawf", 1, 0.0), ("cawf", 2, 0.0), ("cawf", 3, 0.0),
        ("ewc", 0, 0.1), ("ewc", 0, 10.0),
        *(("gated_adapters", size, s) for size in (1, 2, 3) for s in (0.1, 10.0)),
    ]  # fmt: skip


def test_each_method_has_strengths_of_its_own(options):
    points = grid_hyperparameters(options(methods=("finetune", "l2_sp", "ewc", "replay")))
    strengths = {}
    for point in points:
        strengths.setdefault(point.method, {})[point.strength] = None
    assert {method: tuple(found) for method, found in strengths.items()} == {
        "finetune": (0.0,), "l2_sp": (30.0, 100.0, 300.0), "ewc": (1.0, 3.0, 10.0),
        "replay": (0.3, 1.0, 3.0),
    }  # fmt: skip


def test_a_method_with_none_of_the_sizes_is_refused(options):
    with pytest.raises(ConfigError, match=r"residual_adapter \(kernel side\) has none of"):
        plan_of(options(methods=("residual_adapter",), adapter_sizes=(2, 4)))


def test_memory_bounds_the_packs_of_a_search_too(plan):
    made = plan(sampler="random", adapter_sizes=(1, 2))
    tight = replace(made, room=max(f.of_pack(2) for f in made.footprints.values()))
    assert tight.max_mixed_members == min(tight.max_members(m) for m in ("finetune", "cawf"))
    assert 1 <= tight.max_mixed_members < replace(made, room=None).max_mixed_members == 8


@pytest.mark.parametrize("turned", [False, True])
def test_no_domain_is_trained_on_what_the_other_is_tested_on(
    options, image_folder, tmp_path, turned
):
    whole, part = tmp_path / "whole", tmp_path / "part"
    names = sorted(p.name for p in image_folder.iterdir())
    for folder, portion, chosen in (
        (whole, "train", names[:8]), (whole, "test", names[8:]),
        (part, "train", names[6:10]), (part, "test", names[:2]),
    ):  # fmt: skip
        (folder / portion).mkdir(parents=True)
        for name in chosen:
            (folder / portion / name).write_bytes((image_folder / name).read_bytes())
    target, source = (part, whole) if turned else (whole, part)
    leaking = options(domains=(f"thing={target}",), source_domain=f"other={source}")
    with pytest.raises(DomainError, match=r"test image .* is the training image .* of domain"):
        plan_of(leaking)
    same = options(domains=(f"thing={whole}",), source_domain=f"other={whole}")
    assert plan_of(same).cells, "the source domain itself may be a target"


def test_fused_cells_have_other_keys_and_say_so(plan):
    """They are known to rounding; what was not fused is known to the bit and stays what it was."""
    alone, fused = plan(), plan(fuse_packs="on")
    assert not {c.key for c in alone.cells} & {c.key for c in fused.cells}
    assert {c.key for c in alone.cells} == {c.key for c in plan(fuse_packs="off").cells}
    assert {c.tags["interfero.fused"] for c in alone.cells} == {"false"}
    assert {c.tags["interfero.fused"] for c in fused.cells} == {"true"}
    assert '"fused": true' in fused.cells[0].provenance["loop"]
    assert alone.setting != fused.setting, "steps take another time"


def test_fused_members_need_memory_for_all_their_steps(plan):
    made = plan(fuse_packs="on", methods=("cawf", "gated_adapters"))
    needed = {name: made.footprints[name] for name in ("cawf", "gated_adapters")}
    for name, fused in (("cawf", True), ("gated_adapters", False)):
        tight = replace(made, room=needed[name].of_pack(3, fused=fused))
        assert tight.max_members(name) == 3
    assert replace(made, room=needed["cawf"].of_pack(3)).max_members("cawf") < 3


def test_calibration_times_several_of_a_size_where_they_fuse(plan):
    for fuse, sizes in (("off", [1, 2]), ("on", [1, 1, 2, 2])):
        made = plan(fuse_packs=fuse)
        cells = _extremes(made, "cawf")
        assert [c.hyperparameters.adapter_size for c in cells] == sizes
        assert {c.loop.fused for c in cells} == {fuse == "on"}


def test_a_checkpoint_is_a_source_once_its_lambda_is_said(options, tmp_path, monkeypatch):
    """The default of --lambdas says nothing of a checkpoint."""
    monkeypatch.setenv("INTERFERO_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "best.pth.tar"
    model = build_model(Shape("mbt2018-mean", 8, 12))
    torch.save({"epoch": 0, "state_dict": model.state_dict()}, path)
    with pytest.raises(CodecError, match="does not say which lambda it was trained for"):
        load(options(source=str(path)))
    loaded = load(options(source=f"{path}@0.013"))
    assert loaded.codecs[0.013].name == "best"
    with pytest.raises(CodecError, match=r"no weights for lambda 0.013; known: 0.0067"):
        load(options(source=f"{path}@0.0067"))


def test_a_star_leaves_its_centre_along_one_axis_at_a_time(plan):
    axes = {"num_images": ("3", "2", "all"), "num_steps": (8, 4, 16), "adapter_sizes": (2, 1, 4)}
    made = plan(design="star", data_seeds=(0, 1), **axes)
    full = plan(data_seeds=(0, 1), **axes)
    points = {
        (
            c.hyperparameters.method,
            c.block.num_images,
            c.loop.num_steps,
            c.hyperparameters.adapter_size,
        )
        for c in made.cells
    }
    most = made.domains["thing"].max_images
    assert points == {
        # What has no size has three axes less one.
        *(("finetune", n, 8, 0) for n in (3, 2, most)),
        *(("finetune", 3, n, 0) for n in (4, 16)),
        *(("cawf", n, 8, 2) for n in (3, 2, most)),
        *(("cawf", 3, n, 2) for n in (4, 16)),
        *(("cawf", 3, 8, n) for n in (1, 4)),
    }
    # Each with both learning rates and both seeds; and they are cells of the whole grid.
    assert len(made.cells) == 4 * len(points)
    assert {c.key for c in made.cells} < {c.key for c in full.cells}
    assert len(full.cells) == 4 * (3 * 3 + 3 * 3 * 3)


def test_a_star_over_lambdas_has_each_of_them_with_the_first_number_of_images(plan):
    made = plan(
        source="mbt2018-mean", design="star", lambdas=(0.013, 0.0045), num_images=("2", "3")
    )
    found = [(b.rd_lambda, b.num_images) for b in made.blocks]
    assert found == [(0.013, 2), (0.013, 3), (0.0045, 2)]
