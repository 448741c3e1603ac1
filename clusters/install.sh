#!/usr/bin/env bash
# Sets up one machine of a cluster, head or worker: the environment of the lock file, in ~/environment.
# Runs again without harm; what is installed already costs seconds. Needs python3 with pip.
set -euo pipefail
cd ~/interfero

# uv, of the locked version and hash; later runs find it in the environment. The variable is for
# Debian 12 and Ubuntu 24.04, whose pip otherwise refuses to write to ~/.local.
uv=~/environment/bin/uv
if ! test -x "$uv"; then
  PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --user --quiet \
    --require-hashes -r <(sed -n '/^uv==/,/^    # via/p' requirements.lock)
  uv=~/.local/bin/uv
fi

# An environment of its own, outside the folders that `ray up` copies.
python=~/environment/bin/python
test -x "$python" || "$uv" venv --python 3.11 ~/environment
export UV_HTTP_TIMEOUT=300  # torch's CUDA libraries are large files
# Once, and not by each driver and worker that starts.
export UV_COMPILE_BYTECODE=${UV_COMPILE_BYTECODE:-1}
"$uv" pip install --python "$python" --require-hashes -r requirements.lock
"$uv" pip install --python "$python" --no-deps --no-build-isolation --offline --editable .

# The token lets its holder run code on every machine.
chmod 700 ~/.ray
chmod 600 ~/.ray/auth_token

# First line, because Ubuntu's ~/.bashrc ends early in shells without a terminal.
line='. ~/interfero/clusters/environment.sh'
touch ~/.bashrc
grep -qxF "$line" ~/.bashrc || { printf '%s\n' "$line" | cat - ~/.bashrc > ~/.bashrc.new; mv ~/.bashrc.new ~/.bashrc; }
