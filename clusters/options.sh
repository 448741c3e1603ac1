#!/usr/bin/env bash
# For scripts that read a sweep's options; to be sourced.
value_of() { # OPTION DEFAULT SCRIPT [OPTIONS]: the last value given
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
folder_of() { # SCRIPT --name NAME [--storage PATH] [OPTIONS]: where the sweep is kept
  local storage
  storage=$(value_of --storage interfero-storage "$@")
  printf '%s/%s' "${storage#file://}" "$(value_of --name "" "$@")"
}
