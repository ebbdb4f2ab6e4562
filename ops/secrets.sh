#!/bin/sh
# Makes the secrets of compose.yaml that are missing: ops/secrets.sh [DIRECTORY]; without one: secrets/.
# On this machine the directory is yours alone. The files in it can be read by all, as each container has its own user.
set -eu
directory=${1:-$(dirname "$0")/../secrets}

random() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }

keep() {
  [ -e "$directory/$1" ] || printf '%s\n' "$2" >"$directory/$1"
  chmod 0444 "$directory/$1"
}

uri() { printf 'mongodb://%s:%s@mongo:27017/?replicaSet=rs0&authSource=admin' "$1" "$(random 16)"; }

mkdir -p "$directory"
chmod 0700 "$directory"
keep mongo_keyfile "$(random 384)"
keep mongo_admin_password "$(random 16)"
keep clientsync_uri "$(uri clientsync)"
keep generator_uri "$(uri generator)"
keep anon_key "$(random 32)"
keep grafana_password "$(random 12)"
