#!/usr/bin/env bash
# Starts MLflow's server on the head, unless it runs: tracking_server.sh STORAGE
# Runs and metrics are kept in ~/mlflow, artifacts in STORAGE/mlflow-artifacts.
# It outlives `ray down` on machines of your own; end it with: kill $(cat ~/mlflow/pid)
set -euo pipefail
storage=$1
mkdir -p ~/mlflow "$storage/mlflow-artifacts"

# SQLite on the head's own disk: its locks cannot be trusted on NFS.
# Loopback only: the pages are reached through SSH, workers never write. MLflow has no password of its
# own here, so nothing else may reach it; the allowed hosts stop web pages that rebind their name to it.
# The lock lives as long as the server: a second start changes nothing.
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
setsid --fork flock --nonblock ~/mlflow/lock sh -c "
  echo \$\$ > ~/mlflow/pid
  exec mlflow server --host 127.0.0.1 --port 5000 --workers 1 \
    --allowed-hosts localhost:5000,127.0.0.1:5000 \
    --backend-store-uri sqlite:///$HOME/mlflow/mlflow.db \
    --artifacts-destination '$storage/mlflow-artifacts'
" >> ~/mlflow/server.log 2>&1 < /dev/null

for _ in $(seq 120); do
  (: < /dev/tcp/127.0.0.1/5000) 2> /dev/null && exit 0
  sleep 1
done
echo "MLflow's server does not answer; the end of ~/mlflow/server.log:" >&2
tail -n 20 ~/mlflow/server.log >&2
exit 1
