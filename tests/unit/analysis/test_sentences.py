"""The sentences: every number comes from the records."""

from interfero.analysis.capacity_table import failed_lines
from interfero.analysis.sentences import summary_lines

ONE_SEED = "illustration, n = 1 seed"


def test_sentences_by_hand(small_sweep):
    lines = summary_lines(small_sweep)
    assert (
        lines[0] == "finetune gains in 2 of 2 domains: +8.00 % of the target loss on test images."
    )
    assert lines[1] == "finetune forgets in 2 of 2 domains: +0.40 to +30.00 % of the source loss."
    assert lines[2] == (
        "Old bitstreams, decoded after finetune: 99.9 % are pixel-exact, PSNR drop +6.25 dB."
    )
    assert lines[3] == (
        "finetune minus continue_source at the same learning rate, in percentage points, paired, median over "
        "2 domains (one seed; verdicts corrected over 2 methods): target gain +7.90: undecided (one seed); "
        "forgetting, unrouted +15.20: undecided (one seed); forgetting, routed +15.20: undecided (one seed)."
    )
    assert lines[4].endswith("+4.00 % of the target loss on test images.")
    assert lines[5] == (
        "cawf forgets routed in 0 of 2 domains: 0 % of the source loss; unrouted in 2 of 2 domains: +50.00 % "
        "of the source loss."
    )
    assert lines[6] == (
        "Smallest size with 90 % of cawf's best validation gain: 4 (3 % of the parameters) on "
        "charts, text."
    )
    assert lines[7].startswith(
        "cawf minus finetune, in percentage points, paired, median over 2 domains"
    )
    assert lines[8].startswith("cawf minus continue_source, in")
    assert "cawf gave exactly the source codec's bytes and pixels in all 4 cells" in lines[9]
    assert lines[-1] == f"This is an {ONE_SEED}."


def test_one_inexact_cell_is_not_hidden(record, small_sweep, measured):
    records = small_sweep
    broken = measured(
        1.0, 0.0, 9.0, **{"source_mode/bytes_exact": 0.99, "source_mode/pixels_exact": 1.0}
    )
    records.append(record("cawf", 4, 1e-4, metrics=broken))
    assert any("in ONLY 4 of 5 cells" in line for line in summary_lines(records))


def test_one_method_alone_makes_no_sentence_about_others(record, measured):
    lines = summary_lines([record("cawf", 4, metrics=measured(1.0, 0.0, 3.0))])
    assert not any("finetune" in line for line in lines)
    assert any(line.startswith("cawf gains in 1 of 1 domain") for line in lines)
    assert any("1 of 1 settings was run at one learning rate" in line for line in lines)


def test_missing_metrics_make_no_sentence(record):
    lines = summary_lines([record(metrics={"val/rd_gain_percent": 1.0})])
    assert not any("forgets" in line or "gains" in line for line in lines)


def test_several_image_counts_are_cases_which_is_said_first(sweep):
    records = sweep(seeds=(0, 1))
    more = [r.model_copy(update={"params": {**r.params, "num_images": 5}}) for r in records]
    lines = summary_lines([*records, *more])
    assert lines[0] == "A case is a domain at one image count."
    assert lines[1].startswith("finetune gains in 8 of 8 cases:")
    assert lines[-1] == "Numbers are means, n = 2 seeds."
    assert any("median over 8 combinations of domain and image count" in line for line in lines)


def test_sentences_are_of_one_budget_and_lambda_and_say_which(sweep):
    """At fewer steps and at other lambdas all is worse: no range, count or median may have these in it."""

    def elsewhere(**params):
        return [
            r.model_copy(
                update={
                    "key": f"{r.key}-{params}",
                    "params": {**r.params, **params},
                    "metrics": {name: value - 500.0 for name, value in r.metrics.items()},
                }
            )
            for r in records
        ]

    records = sweep(seeds=(0, 1))
    first, *rest = summary_lines(
        [
            *records,
            *elsewhere(num_steps=50),
            *elsewhere(rd_lambda=0.001),
            *elsewhere(rd_lambda=0.05),
        ]
    )
    assert first == (
        "Gain and forgetting in these sentences are after 300 steps, at lambda 0.0067."
    )
    ours = [line for line in summary_lines(records) if "%" in line]
    assert [line for line in rest if "%" in line] == ours


def test_codecs_tell_cases_apart(record, measured):
    records = [record(codec=codec, metrics=measured(1.0, 2.0)) for codec in ("a", "b")]
    assert "A case is a domain at one source codec and image count." in summary_lines(records)


def test_only_what_is_lost_is_forgotten_and_what_is_won_is_gained(record, measured):
    records = [
        record(domain=domain, metrics=measured(gain, lost))
        for domain, gain, lost in (("a", -3.0, -0.5), ("b", 1.0, 2.0), ("c", -1.0, 0.0))
    ]
    lines = summary_lines(records)
    assert lines[0] == (
        "finetune loses in 2 of 3 domains: -3.00 to +1.00 % of the target loss on test images."
    )
    assert lines[1] == "finetune forgets in 1 of 3 domains: -0.50 to +2.00 % of the source loss."


def test_one_cell_is_singular(record, measured, fail):
    exact = {"source_mode/bytes_exact": 1.0, "source_mode/pixels_exact": 1.0}
    records = [
        record("cawf", 4, metrics=measured(1.0, 0.0, 3.0, **exact)),
        fail(record("cawf", 8)),
    ]
    lines = summary_lines(records)
    assert any(line.endswith("bytes and pixels in the one cell.") for line in lines)
    assert "1 of 2 cells failed and is left out." in lines


def test_failures_are_counted_and_listed(sweep, fail):
    records = sweep(domains=("text",))
    records = [fail(r) if r.params["adapter_size"] == 16 else r for r in records]
    lines = summary_lines(records)
    assert "No result for cawf 16 on text." in lines
    assert "3 of 18 cells failed and are left out." in lines
    failed = failed_lines(records)
    assert len(failed) == 3
    assert all("domain=text" in f and "adapter_size=16" in f and "step 17" in f for f in failed)
    assert failed_lines(sweep()) == []


def test_nothing_finished_is_said(sweep, fail):
    records = [fail(r) for r in sweep()]
    assert summary_lines(records)[-1].startswith("No cell finished")


def crops_of(records, domain):
    """The same records, one domain's images being crops."""
    return [
        r.model_copy(update={"params": {**r.params, "image_unit": "crops"}})
        if r.params["domain"] == domain
        else r
        for r in records
    ]


def test_crops_are_told_from_images(small_sweep):
    lines = summary_lines(crops_of(small_sweep, "text"))
    assert "on test images or crops." in lines[0]
    assert "Crops of the same picture are not independent: text n = 20 crops." in lines
    both = summary_lines(crops_of(crops_of(small_sweep, "text"), "charts"))
    assert "on test crops." in both[0]
    assert not any("rops" in line for line in summary_lines(small_sweep))
    many = [
        r.model_copy(update={"params": {**r.params, "domain": f"d{i}", "image_unit": "crops"}})
        for r in small_sweep
        for i in range(10)
    ]
    assert "Crops of the same picture are not independent: n = 20 crops on 10 domains." in (
        summary_lines(many)
    )


def test_learning_rates_at_the_edge_are_counted_by_seed(record, measured):
    gains = {0: (1.0, 0.5, 2.0), 1: (2.0, 0.5, 1.0)}
    records = [
        record(learning_rate=rate, data_seed=seed, metrics=measured(gain, 0.0))
        for seed, three in gains.items()
        for rate, gain in zip((1e-4, 3e-4, 1e-3), three, strict=True)
    ]
    two = [r for r in records if r.params["learning_rate"] != 3e-4]
    assert (
        "Only two learning rates were tried (0.0001 and 0.001), so that none lies between others: a wider "
        "grid may give better results."
    ) in summary_lines(two)
    assert any(
        line.startswith("2 of 2 chosen learning rates are at the edge of their grid (1 at the h")
        for line in summary_lines(records)
    )
