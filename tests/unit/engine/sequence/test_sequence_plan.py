"""What a sweep over sequences of domains plans: what is shared, and what keys depend on."""

import re
from collections import Counter

import pytest

from interfero.engine.packs import Pack
from interfero.engine.sequence.nodes import Merged, Stage
from interfero.errors import ConfigError


def kinds(plan):
    return Counter(node.kind for node in plan.behind(plan.rows).values())


def stages(plan):
    return [node for node in plan.behind(plan.rows).values() if isinstance(node, Stage)]


def row(plan, sequence, method="finetune"):
    (found,) = [r for r in plan.rows if (r.method, ">".join(r.sequence)) == (method, sequence)]
    return found


def trained(plan, sequence, method="finetune"):
    return row(plan, sequence, method).bank[-1].trained


def test_orders_that_begin_alike_train_what_they_have_in_common_once(plan):
    made = plan()
    # 3 first stages, 6 second ones, 6 third ones: 18 trainings were nothing shared.
    assert Counter(len(stage.met) for stage in stages(made)) == {1: 3, 2: 6, 3: 6}
    assert kinds(made) == {"stage": 15, "archive": 16}
    assert len(made.rows) == 16
    assert [r.params["stage"] for r in made.rows].count(0) == 1


@pytest.mark.parametrize(
    ("methods", "trainings", "merged"),
    [
        # What an order does not decide is there once for all orders: an adapter a domain, a set of domains.
        (("lora",), 3, 0),
        (("joint",), 7, 0),
        (("merge_mean",), 3, 7),
        # First stages are those of a codec per domain, and of what is merged.
        (("finetune", "codec_per_domain", "merge_mean", "task_arithmetic"), 15, 14),
        # What is merged are the adapters of a bank.
        (("lora", "merge_mean_lora", "task_arithmetic_lora"), 3, 14),
        # At the first stage, the source is the stage before.
        (("l2_sp", "l2_sp_source"), 15 + 12, 0),
    ],
)
def test_what_methods_share(plan, methods, trainings, merged):
    made = plan(methods=methods)
    assert (kinds(made)["stage"], kinds(made)["merged"]) == (trainings, merged)
    assert len(made.rows) == 1 + 15 * len(methods)


def test_a_key_knows_nothing_of_what_comes_later(plan):
    long, short = plan(), plan(length=1)
    assert trained(long, "pages").key == trained(short, "pages").key
    assert row(long, "pages").key == row(short, "pages").key
    assert {r.key for r in short.rows} <= {r.key for r in long.rows}


def test_a_stage_hashes_all_that_came_before(plan):
    made = plan()
    ends = [trained(made, order) for order in ("pages>clouds>notes", "clouds>pages>notes")]
    assert ends[0].key != ends[1].key
    assert ends[0].before.key == trained(made, "pages>clouds").key
    assert len({r.key for r in made.rows}) == len(made.rows)


def test_a_stage_depends_on_what_it_looks_at_and_on_nothing_else(plan, image_folder):
    def key(method="finetune", *others, **changes):
        made = plan(methods=(method, *others), orders=("given",), **changes)
        return trained(made, "pages>clouds", method).key

    base = key()
    other_source = {"source_domain": f"else={image_folder}"}
    memory = key("finetune", "replay", memory_images=(3,))
    same = [key(max_target_images=2), memory, key(**other_source), key(length=2)]
    assert set(same) == {base}
    assert key("replay") != key("replay", **other_source)
    assert key("ewc") != key("ewc", **other_source)
    assert key("replay", memory_images=(3,)) != key("replay", memory_images=(4,))
    assert key("replay", buffers=("balanced",)) != key("replay")
    assert key("replay", memory_forms=("streams",)) != key("replay")
    assert key("replay", memory_forms=("images",)) == key("replay")
    changed = [
        key(num_steps=5),
        key(learning_rates=(1e-3,)),
        key(data_seeds=(1,)),
        key(num_images=("3",)),
    ]
    assert len({base, *changed}) == 5


def test_axes_multiply(plan):
    made = plan(
        methods=("finetune", "replay"), length=1, orders=("given",), memory_images=(2, 4),
        buffers=("reservoir", "balanced"), memory_forms=("images", "streams"), num_steps=(2, 3),
        num_images=("2", "all"),
    )  # fmt: skip
    assert len(made.rows) == 1 + 4 * (1 + 8)
    assert {r.params["images_asked"] for r in made.rows} == {"", "2", "all"}


def test_stages_that_differ_in_hyperparameters_train_together(plan):
    made = plan(learning_rates=(1e-3, 3e-3), orders=("given",))
    packs = [p for p in made.packs(made.rows) if p.nodes[0].kind == "stage"]
    # From the second stage on, each goes on from a codec of its own.
    assert sorted(len(p.nodes) for p in packs) == [1, 1, 1, 1, 2]
    first = next(p for p in packs if len(p.nodes) == 2)
    assert not first.needs
    assert all(p.needs for p in packs if p is not first)


def test_merged_codecs_do_not_depend_on_the_order(plan):
    made = plan(methods=("merge_mean",))
    ends = [trained(made, order, "merge_mean") for order in ("pages>clouds", "clouds>pages")]
    assert isinstance(ends[0], Merged)
    assert ends[0].key == ends[1].key
    assert (
        row(made, "pages>clouds", "merge_mean").key != row(made, "clouds>pages", "merge_mean").key
    )


def test_packs_survive_their_journey(plan):
    made = plan(methods=("replay", "lora", "joint", "task_arithmetic"))
    for pack in made.packs(made.rows):
        back = Pack.model_validate_json(pack.model_dump_json())
        assert [node.key for node in back.nodes] == [node.key for node in pack.nodes]


def test_a_row_names_every_node_behind_it(plan):
    lineage = row(plan(), "pages>clouds>notes").lineage
    assert {kind: len(keys.split()) for kind, keys in lineage.items()} == {"stage": 3, "archive": 4}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"methods": ("gated_adapters",)}, "there is no way from one to the next"),
        ({"methods": ("finetun",)}, "did you mean 'finetune'"),
        ({"methods": ()}, "--methods is empty"),
        ({"orders": ("pages>x",)}, "'x' is no domain of --domains"),
        ({"orders": ("pages>clouds", "notes")}, "'pages>clouds' and 'notes' meet 2 domains and 1"),
        ({"orders": ("pages>clouds", "given")}, "'pages>clouds>notes' and 'pages>clouds' meet 3"),
        ({"orders": ("pages>clouds",), "length": 3}, "--length 3 with --orders 'pages>clouds'"),
        # Eight, not thirteen: if these orders were made, the test would fail and not fill the memory.
        ({"domains": tuple("abcdefgh")}, "--orders all: 8 domains in sequences of 8 are 40,320"),
        ({"length": 4}, "--length 4 with 3 --domains"),
        ({"length": -1}, "--length must not be negative, got -1"),
        ({"memory_images": (0,)}, "--memory-images must be above 0"),
        ({"sampler": "tpe"}, "--sampler tpe: every stage is wanted"),
        ({"schedule": "wsd"}, "--schedule wsd: every stage has a cosine of its own"),
        ({"attribute": True}, "--attribute: what is forgotten"),
        ({"memory_images": (4, 16)}, "--memory-images 4 16: no method of --methods rehearses"),
        ({"buffers": ("balanced",)}, "--buffers balanced: no method of --methods rehearses"),
        (
            {"memory_forms": ("streams",)},
            "--memory-forms streams: no method of --methods rehearses",
        ),
        ({"learning_rates": (2.0,)}, "--learning-rates must lie between 0 and 1"),
    ],
)
def test_options_that_cannot_be_run(options, changes, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        options(**changes).check()


@pytest.mark.parametrize(
    "memory",
    [
        {"memory_images": (4, 16)},
        {"buffers": ("reservoir", "balanced")},
        {"memory_forms": ("streams",)},
    ],
)
def test_a_memory_is_for_methods_that_rehearse(options, memory):
    options(methods=("finetune", "replay"), **memory).check()
    with pytest.raises(ConfigError, match=r"add replay to --methods, or leave it out"):
        options(methods=("lora", "joint"), **memory).check()
    # One problem, not two: the name may have been meant to be replay.
    with pytest.raises(ConfigError) as refused:
        options(methods=("replai",), **memory).check()
    assert "rehearses" not in str(refused.value)


def test_names_tell_rows_apart(options, domain_specs):
    folder = domain_specs[0].partition("=")[2]
    with pytest.raises(ConfigError, match="both have the name 'pages'"):
        options(source_domain=f"pages={folder}").check()


def test_the_smallest_sweep_still_is_a_sequence(options):
    few = options(methods=("finetune", "lora")).smallest()
    few.check()
    assert few.order_list == [("pages", "clouds")]
    assert few.methods == ("finetune", "lora")
    spelled = options(orders=("notes>pages",)).smallest()
    assert spelled.order_list == [("notes", "pages")]
    whole = options(orders=("notes>pages>clouds",), length=3).smallest()
    whole.check()
    assert whole.order_list == [("notes", "pages", "clouds")]
    with pytest.raises(ConfigError, match="--length 3 with --orders 'notes>pages'"):
        options(orders=("notes>pages",), length=3).smallest().check()
