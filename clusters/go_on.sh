#!/usr/bin/env bash
# Starts a sweep, or goes on with it if its storage has it: go_on.sh SCRIPT --name NAME [--storage PATH] [OPTIONS]
# For schedulers that run one command again and again. Signals reach the sweep itself.
set -euo pipefail
# shellcheck source=clusters/options.sh
source "$(dirname "${BASH_SOURCE[0]}")/options.sh"
if [[ -z $(value_of --name "" "$@") ]]; then
  echo "clusters/go_on.sh: needs --name: a sweep goes on by its name" >&2
  exit 2
fi
if [[ -f $(folder_of "$@")/sweep.json && " $* " != *" --resume "* ]]; then
  set -- "$@" --resume
fi
exec "${INTERFERO_PYTHON:-python}" "$@"
