# Read by ~/.bashrc on every machine of a cluster; Ray's commands run in shells that read that.
export PATH=$HOME/environment/bin:$PATH
# Without the mode on every machine, Ray starts open to everybody who reaches its ports.
export RAY_AUTH_MODE=token
# Ray tells nobody that it runs here.
export RAY_USAGE_STATS_ENABLED=0
# The head's own server (tracking_server.sh); only the driver, which runs there, writes to it.
export MLFLOW_TRACKING_URI=http://127.0.0.1:5000
