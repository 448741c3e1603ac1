"""What several cells share is a node that is there once."""

from collections import Counter

from interfero.engine.adaptation.nodes import Train
from interfero.engine.packs import Pack


def kinds(nodes):
    return Counter(node.kind for node in nodes)


def behind(plan):
    return list(plan.behind(plan.cells).values())


def test_the_source_codec_looks_at_each_domain_once(plan):
    """Four blocks, two methods: each target and the source domain, and a distance a target."""
    given = plan().options.domains
    made = plan(domains=(*given, "text"), num_images=("2", "3"))
    assert len(made.blocks) == 4
    nodes = behind(made)
    assert kinds(nodes) == {"reference": 3, "distance": 2}
    looked_at = [node.domain for node in nodes if node.kind == "reference"]
    assert sorted(looked_at) == ["other", "text", "thing"]
    assert sorted(node.domain for node in nodes if node.kind == "distance") == ["text", "thing"]


def test_validation_images_of_another_seed_are_looked_at_anew(plan):
    assert kinds(behind(plan(data_seeds=(0, 1)))) == {"reference": 4, "distance": 1}


def test_a_training_that_never_sees_the_target_is_one_for_all(plan):
    given = plan().options.domains
    made = plan(
        domains=(*given, "text"), num_images=("2", "3"), methods=("finetune", "continue_source")
    )
    controls = [c for c in made.cells if c.hyperparameters.method == "continue_source"]
    trainings = [node for node in behind(made) if isinstance(node, Train)]
    rates = len(made.options.learning_rates)
    assert (len(controls), len(trainings)) == (4 * rates, rates)
    keys = {node.key for node in trainings}
    for cell in made.cells:
        trained = {need.key for need in made.needs(cell) if isinstance(need, Train)}
        assert len(trained) == (cell.hyperparameters.method == "continue_source")
        assert trained <= keys
    assert {made.shared_trainings(cell) for cell in controls} == keys


def test_an_adapter_for_all_rates_is_trained_once_for_all_lambdas(plan):
    made = plan(
        source="mbt2018-mean", methods=("lora", "lora_all_rates"), lambdas=(0.0045, 0.013),
        data_seeds=(0, 1),
    )  # fmt: skip
    own = [c for c in made.cells if c.hyperparameters.method == "lora_all_rates"]
    trainings = [node for node in behind(made) if isinstance(node, Train)]
    assert len(own) == 2 * len(trainings) > 0
    assert all(not c.rates for c in made.cells if c not in own)
    assert {rate.rd_lambda for cell in own for rate in cell.rates} == {0.0045, 0.013}
    packs = [p for p in made.packs(made.cells) if isinstance(p.nodes[0], Train)]
    assert all(len({n.cell.block for n in pack.nodes}) == 1 for pack in packs)
    assert sum(len(pack.nodes) for pack in packs) == len(trainings)


def test_packs_name_what_they_wait_for_and_hold_every_node_once(plan):
    made = plan(methods=("finetune", "continue_source"), max_concurrent=1)
    packs = made.packs(made.cells, frozenset())
    keys = [key for pack in packs for key in pack.keys]
    assert len(keys) == len(set(keys))
    assert set(keys) == {cell.key for cell in made.cells} | set(made.behind(made.cells))
    for pack in packs:
        assert pack.needs == {need.key for node in pack.nodes for need in made.needs(node)}
    assert {node.kind for pack in packs if not pack.needs for node in pack.nodes} == {
        "reference", "distance", "train",
    }  # fmt: skip


def test_what_is_done_is_neither_packed_nor_waited_for(plan):
    made = plan(methods=("finetune", "continue_source"))
    done = frozenset(made.behind(made.cells))
    packs = made.packs(made.cells, done)
    assert {node.kind for pack in packs for node in pack.nodes} == {"evaluate"}
    assert all(pack.needs == frozenset() for pack in packs)


def test_every_kind_of_node_survives_its_journey(plan):
    made = plan(methods=("finetune", "continue_source"))
    for pack in made.packs(made.cells, frozenset()):
        back = Pack.model_validate_json(pack.model_dump_json())
        assert back.keys == pack.keys
        assert [type(node) for node in back.nodes] == [type(node) for node in pack.nodes]
        assert back.needs == frozenset(), "a worker does not need to know"
