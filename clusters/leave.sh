#!/usr/bin/env bash
# This machine is about to be taken away: leave.sh [SECONDS that are left, 30 if not said]
# Ray starts nothing more here; what trains writes its state after the step and goes on elsewhere. It returns
# when Ray has ended here, or when the seconds are over: for hooks after which the machine goes.
set -euo pipefail
seconds=${1:-30}
value_of() { pgrep -a -u "$(id -u)" raylet | grep -o -- "--$1=[^ ]*" | head -n 1 | cut -d = -f 2; }
node=$(value_of node_id) || { echo "clusters/leave.sh: no Ray of this user runs here" >&2; exit 2; }
ray drain-node --address "$(value_of gcs-address)" --node-id "$node" \
  --reason DRAIN_NODE_REASON_PREEMPTION --reason-message "the machine is being taken away" \
  --deadline-remaining-seconds "$seconds"
while ((SECONDS < seconds)) && pgrep -u "$(id -u)" raylet > /dev/null; do sleep 1; done
