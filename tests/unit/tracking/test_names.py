from interfero.tracking.names import experiment_tags, run_name

PARAMS = {
    "codec": "mean-scale-0.0067",
    "domain": "histology",
    "rd_lambda": 0.0067,
    "num_images": 20,
    "method": "cawf",
    "adapter_size": 4,
    "learning_rate": 1e-3,
    "data_seed": 0,
    "init_seed": 0,
    "num_steps": 500,
}


def test_a_name_reads_as_the_cell():
    assert run_name(PARAMS) == "histology cawf-04 lr1e-03 n020 steps0500 lambda0.0067 d0 i0"


def test_what_a_cell_lacks_is_left_out():
    assert run_name({"domain": "text", "method": "finetune", "adapter_size": 0}) == "text finetune"
    assert run_name({}) == "cell"


def test_budgets_and_sequences_are_told_apart():
    assert len({run_name({**PARAMS, "num_steps": steps}) for steps in (250, 1000)}) == 2
    assert run_name({"domain": "b", "sequence": "a>b", "method": "ewc"}) == "a>b ewc"


def test_names_sort_by_adapter_size():
    names = [run_name({**PARAMS, "adapter_size": size}) for size in (2, 4, 8, 16)]
    assert names == sorted(names)


def test_learning_rates_are_told_apart():
    names = {run_name({**PARAMS, "learning_rate": rate}) for rate in (1e-3, 1.5e-3, 3e-4)}
    assert len(names) == 3


def test_a_word_where_a_number_is_usual_stays_a_word():
    assert run_name({"configuration": "naive", "rate_bpp": "original"}) == "naive bpp-original"


def test_the_first_chart_is_of_what_the_sweep_asks_about():
    main = "mlflow.experiment.primaryMetric.name"
    assert experiment_tags("adapter-capacity")[main] == "target/rd_gain_percent"
    assert experiment_tags("covariate-shift")[main] == "segmentation/miou"
