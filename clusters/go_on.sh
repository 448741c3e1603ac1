#!/usr/bin/env bash
# Starts a sweep, or goes on with it if its storage has it: go_on.sh SCRIPT --name NAME [--storage PATH] [OPTIONS]
# For schedulers that run one command again and again. Signals reach the sweep itself.
set -euo pipefail
value_of() { # OPTION DEFAULT: the last value given
  local option=$1 found=$2 i
  shift 2
  for ((i = 1; i <= $#; i++)); do
    case ${!i} in
      "$option") local next=$((i + 1)); found=${!next:-} ;;
      "$option"=*) found=${!i#*=} ;;
    esac
  done
  printf '%s' "$found"
}
name=$(value_of --name "" "$@")
storage=$(value_of --storage interfero-storage "$@")
if [[ -z $name ]]; then
  echo "clusters/go_on.sh: needs --name: a sweep goes on by its name" >&2
  exit 2
fi
if [[ -f ${storage#file://}/$name/sweep.json && " $* " != *" --resume "* ]]; then
  set -- "$@" --resume
fi
exec "${INTERFERO_PYTHON:-python}" "$@"
