#!/usr/bin/env bash
# Ray Tune 2.60.0: SIGUSR1, SLURM's usual warning before a time limit, ends `Tuner.fit` as if it had finished.
#
# `sbatch --signal=B:USR1@180` is how jobs ask to be warned, and a driver that wants to stop and be queued again
# installs a handler. `Tuner.fit` replaces it in the main thread without asking: TUNE_DISABLE_SIGINT_HANDLER=1 keeps
# Tune from SIGINT and not from SIGUSR1. At the signal fit returns a ResultGrid with no errors, whose unfinished trials look
# like the others; trials that had not started are not in it. A driver that goes on to write its tables
# reports a part of the study as all of it, and exits with 0: the scheduler does not queue the job again.
#
# Guess beforehand: a handler installed before fit is called, or the signal ends the process.
#
# Output seen (8 trials of 2 seconds asked for, 1 at once, the signal after 5 seconds):
#   handler called: False
#   trials asked for: 8, in the results: 1, errors: 0     (more on a machine that is less busy)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check "ray[default,tune]==2.60.0"
cd "$folder"
export TUNE_DISABLE_SIGINT_HANDLER=1 RAY_USAGE_STATS_ENABLED=0
env/bin/python -W ignore - <<'PYTHON'
import os
import signal
import threading
import time

import ray
from ray import tune

called = []
signal.signal(signal.SIGUSR1, lambda *_: called.append(True))


def trial(config):
    time.sleep(2)
    tune.report({"value": config["x"]})


ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
tuner = tune.Tuner(
    trial,
    param_space={"x": tune.grid_search(list(range(8)))},
    tune_config=tune.TuneConfig(max_concurrent_trials=1, reuse_actors=True),
    run_config=tune.RunConfig(storage_path=os.path.abspath("tune"), verbose=0),
)
threading.Timer(5, os.kill, (os.getpid(), signal.SIGUSR1)).start()
results = tuner.fit()
print("handler called:", bool(called))
print(f"trials asked for: 8, in the results: {len(results)}, errors: {results.num_errors}")
assert not called, "the driver's own handler is called now"
assert results.num_errors == 0 and len(results) < 8, "fit no longer ends early without an error"
PYTHON
