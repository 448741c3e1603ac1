# An image with the environment of the lock file, for those who run Ray's nodes from images:
#   docker build -t interfero .
#   mkdir -p results        (Docker would make it root's)
#   docker run --rm --shm-size=4g -v "$PWD/results:/srv/interfero" -w /srv/interfero interfero \
#     python /home/ubuntu/interfero/sweeps/adapter_capacity.py --smoke --storage /srv/interfero
# The working folder is where mlflow.db and mlruns go: inside the container they would be gone with it.
# With GPUs: docker run --gpus all. For `ray up`, docs/cluster.md says what to put under `docker:`.
FROM python:3.11-slim-bookworm

# What `ray up` uses inside a container.
RUN apt-get update && apt-get install -y --no-install-recommends openssh-client procps rsync \
  && rm -rf /var/lib/apt/lists/*

# Not root: what runs here comes over the network. 1000 is the `ubuntu` of cloud images.
RUN useradd --create-home --uid 1000 --shell /bin/bash ubuntu \
  && install -d -o ubuntu /srv/interfero
USER ubuntu
WORKDIR /home/ubuntu/interfero
# With the token mode, `ray start` refuses to start without ~/.ray/auth_token, rather than start open to
# everybody; a sweep on this machine alone makes its own.
ENV PATH=/home/ubuntu/environment/bin:$PATH RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=token

# The libraries before the code: they change less often, and are 6 GB.
COPY --chown=ubuntu requirements.lock ./
RUN python -m venv /home/ubuntu/environment \
  && sed -n '/^uv==/,/^    # via/p' requirements.lock > /tmp/uv.lock \
  && pip install --no-cache-dir --require-hashes -r /tmp/uv.lock \
  && uv pip install --no-cache --compile-bytecode --require-hashes -r requirements.lock \
    --python /home/ubuntu/environment/bin/python

COPY --chown=ubuntu pyproject.toml README.md LICENSE ./
COPY --chown=ubuntu clusters ./clusters
COPY --chown=ubuntu platform ./platform
COPY --chown=ubuntu trainables ./trainables
COPY --chown=ubuntu sweeps ./sweeps
RUN uv pip install --no-deps --no-build-isolation --offline --editable . \
  --python /home/ubuntu/environment/bin/python \
  && /home/ubuntu/environment/bin/python -m compileall -q platform trainables sweeps
