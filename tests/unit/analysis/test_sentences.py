"""The sentences: every number comes from the records."""

from interfero.analysis.capacity_table import failed_lines
from interfero.analysis.sentences import summary_lines

ONE_SEED = "illustration, n = 1 seed"


def test_sentences_by_hand(small_sweep):
    lines = summary_lines(small_sweep)
    assert (
        lines[0] == "finetune gains in 2 of 2 domains: +8.00 % of the target loss on test images."
    )
    assert lines[1] == (
        "finetune forgets more than the control at the same learning rate (-0.50 to +0.50 %) "
        "in 1 of 2 domains (+0.40 to +30.00 % of the source loss)."
    )
    assert lines[2] == (
        "Old bitstreams, decoded after finetune: 99.9 % are pixel-exact, PSNR drop +6.25 dB."
    )
    assert lines[3].endswith("+4.00 % of the target loss on test images, 50 % of finetune's gain.")
    assert "routed, in 0 of 2 domains (0 % of" in lines[4]
    assert "unrouted, in 2 of 2 domains (+50.00 % of" in lines[4]
    assert lines[5] == (
        "Smallest size with 90 % of cawf's best validation gain: 4 (3 % of the parameters) on "
        "charts, text."
    )
    assert "cawf gave exactly the source codec's bytes and pixels in all 4 cells" in lines[6]
    assert lines[-1] == f"This is an {ONE_SEED}."


def test_one_inexact_cell_is_not_hidden(record, small_sweep, measured):
    records = small_sweep
    broken = measured(
        1.0, 0.0, 9.0, **{"source_mode/bytes_exact": 0.99, "source_mode/pixels_exact": 1.0}
    )
    records.append(record("cawf", 4, 1e-4, metrics=broken))
    assert any("in ONLY 4 of 5 cells" in line for line in summary_lines(records))


def controlled(record, measured, forgetting, **params):
    """The control at some learning rates; by its own choice it takes the one that harms least."""
    return [
        record("continue_source", learning_rate=rate, **params,
               metrics=measured(0.0, lost, **{"val/forgetting_percent": lost}))
        for rate, lost in forgetting.items()
    ]  # fmt: skip


def test_the_control_is_taken_at_the_methods_learning_rate_and_seed(record, measured):
    """Seed 0 chooses 1e-3 and seed 1 1e-4: 9 % and 1 % against the control's 8 % and 4 %, 6 % in the mean."""
    records = []
    for seed, rate, lost in ((0, 1e-3, 9.0), (1, 1e-4, 1.0)):
        place = {"data_seed": seed}
        records += [
            record(learning_rate=rate, metrics=measured(5.0, lost), **place),
            record(learning_rate=3e-4, metrics=measured(2.0, 0.0), **place),
            *controlled(record, measured, {1e-4: 4.0, 3e-4: 0.1, 1e-3: 8.0}, **place),
        ]
    lines = summary_lines(records)
    assert lines[1] == (
        "finetune forgets more than the control at the same learning rate (+6.00 %) in "
        "0 of 1 domains (+5.00 % of the source loss)."
    )
    assert any(line.endswith("changed the source loss by +0.10 %.") for line in lines), (
        "its own choice"
    )
    milder = [
        r.model_copy(update={"metrics": measured(0.0, 1.0)})
        if (r.params["method"], r.params["learning_rate"]) == ("continue_source", 1e-4)
        else r
        for r in records
    ]
    assert "in 1 of 1 domains (+5.00 % of" in summary_lines(milder)[1], "against 4.5 %"


def test_where_the_control_has_no_result_at_that_rate_the_bar_is_zero_and_said_so(
    record, measured, fail
):
    tuned = [record(domain=d, metrics=measured(5.0, 1.0)) for d in ("text", "charts")]
    slow = [c for d in ("text", "charts")
            for c in controlled(record, measured, {1e-4: 3.0}, domain=d)]  # fmt: skip
    fast = controlled(record, measured, {1e-3: 3.0}, domain="text")
    (line,) = (x for x in summary_lines(tuned + slow) if "forgets" in x)
    assert "0 % (the control has no result at the same learning rate) in 2 of 2 domains" in line
    lines = summary_lines(tuned + slow + fast)
    assert (
        "finetune forgets more than the control at the same learning rate (+3.00 %; 0 % in 1 of 2 domains, "
        "where it has no result) in 1 of 2 domains (+1.00 % of the source loss)."
    ) in lines
    failed = summary_lines(tuned + slow + [fail(r) for r in fast])
    assert line in failed


def test_adapters_are_held_against_the_control_at_its_own_choice(record, measured):
    """At an adapter's rate the control, which trains every parameter, falls apart."""
    exact = {"source_mode/bytes_exact": 1.0, "source_mode/pixels_exact": 1.0}
    adapted = record("cawf", 4, learning_rate=5e-3, metrics=measured(5.0, 0.0, 3.0, **exact))
    control = controlled(record, measured, {1e-4: 2.0, 5e-3: 500.0})
    lines = summary_lines([adapted, *control])
    assert (
        "cawf forgets more than the control at its best learning rate (+2.00 %): routed, in 0 of 1 domains "
        "(0 % of the source loss); unrouted, in 1 of 1 domains (+3.00 % of the source loss)."
    ) in lines


def test_without_a_control_the_bar_is_zero_and_said_so(small_sweep):
    records = [r for r in small_sweep if r.params["method"] != "continue_source"]
    lines = summary_lines(records)
    assert "forgets more than 0 % (no control finished) in 2 of 2 domains" in lines[1]
    assert not any("continue_source" in line for line in lines)


def test_one_method_alone_makes_no_sentence_about_others(record, measured):
    lines = summary_lines([record("cawf", 4, metrics=measured(1.0, 0.0, 3.0))])
    assert not any("finetune" in line for line in lines)
    assert any(line.startswith("cawf gains in 1 of 1 domains") for line in lines)
    assert any("1 of 1 settings were run at one learning rate" in line for line in lines)


def test_missing_metrics_make_no_sentence(record):
    lines = summary_lines([record(metrics={"val/rd_gain_percent": 1.0})])
    assert not any("forgets" in line or "gains" in line for line in lines)


def test_several_lambdas_are_cases(sweep):
    lines = summary_lines(sweep(lambdas=(0.0067, 0.025), seeds=(0, 1)))
    assert lines[0].startswith("finetune gains in 8 of 8 cases:")
    assert "A case is a domain at one lambda and image count." in lines
    assert lines[-1] == "Numbers are means, n = 2 seeds."


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
