#!/usr/bin/env bash
# Passes on EC2's notice that a spot machine goes in two minutes: spot_notice.sh [PID of the raylet]
# Ray itself does not listen. METADATA names another server than EC2's, EVERY other seconds than EC2 advises.
set -euo pipefail
metadata=${METADATA:-http://169.254.169.254}/latest
# One on a machine: `ray up` starts it each time.
exec 9> "${TMPDIR:-/tmp}/interfero-spot-notice-$(id -u)"
flock --nonblock 9 || exit 0
noticed() {
  local token
  token=$(curl -sf -m 2 -X PUT -H "X-aws-ec2-metadata-token-ttl-seconds: 60" "$metadata/api/token") &&
    curl -sf -m 2 -o /dev/null -H "X-aws-ec2-metadata-token: $token" "$metadata/meta-data/spot/instance-action"
}
until noticed; do sleep "${EVERY:-5}"; done
# Ten seconds less than EC2 says: Ray was seen to count a machine that went before its deadline as one that failed.
exec bash "$(dirname "$0")/leave.sh" 110 "$@"
