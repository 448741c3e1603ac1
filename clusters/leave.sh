#!/usr/bin/env bash
# This machine is about to be taken away: leave.sh [SECONDS that are left (30) [PID of the raylet]]
# Ray starts nothing more here; what trains writes its state after the step and goes on elsewhere. It returns
# when Ray has ended here, or when the seconds are over: for hooks after which the machine goes.
set -euo pipefail
seconds=${1:-30}
raylet=${2:-$(pgrep -o -u "$(id -u)" raylet)} || { echo "clusters/leave.sh: no Ray of this user runs here" >&2; exit 2; }
value_of() { tr '\0' '\n' < "/proc/$raylet/cmdline" | sed -n "s/^--$1=//p"; }
ray drain-node --address "$(value_of gcs-address)" --node-id "$(value_of node_id)" \
  --reason DRAIN_NODE_REASON_PREEMPTION --reason-message "the machine is being taken away" \
  --deadline-remaining-seconds "$seconds"
echo "$(date): Ray starts nothing more here; what trains goes on elsewhere"
end=$((SECONDS + seconds))
while ((SECONDS < end)) && grep -q . "/proc/$raylet/cmdline" 2> /dev/null; do sleep 1; done
