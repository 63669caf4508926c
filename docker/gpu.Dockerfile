# A GPU worker: Ollama and one worker in one image, so that a container is a whole server of the
# pool: it comes with its model, and goes with it.
#
#   docker build -f docker/gpu.Dockerfile -t reveille/gpu-worker .
#   docker build -f docker/gpu.Dockerfile --build-arg MODELS="llava gemma3" -t reveille/gpu-worker:baked .
#
# MODELS puts weights into the image: larger to pull, but a cold start then needs no model store.
# Without it the first container that starts pulls them onto the /models volume.
ARG OLLAMA_IMAGE=ollama/ollama:0.17.4

FROM ${OLLAMA_IMAGE} AS base
# setsid and flock (util-linux) are what the entrypoint needs besides bash.
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        bash ca-certificates python3 python3-venv util-linux \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -c 'import sys; sys.exit("Python 3.11 or newer is needed" if sys.version_info < (3, 11) else 0)'

FROM base AS dependencies
RUN python3 -m venv /opt/reveille
COPY requirements.lock requirements-s3.lock /build/
# EXTRA_LOCK=requirements-s3.lock adds what documents at s3:// need.
ARG EXTRA_LOCK=
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    /opt/reveille/bin/pip install --no-deps --require-hashes -r /build/requirements.lock \
        ${EXTRA_LOCK:+-r /build/${EXTRA_LOCK}}

FROM base AS wheel
RUN python3 -m venv /opt/build
COPY requirements-build.lock /build/
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    /opt/build/bin/pip install --no-deps --require-hashes -r /build/requirements-build.lock
WORKDIR /build
COPY pyproject.toml README.md ./
COPY db db
COPY examples examples
COPY shared shared
COPY services services
RUN /opt/build/bin/pip wheel --no-deps --no-index --no-build-isolation --wheel-dir /wheels .

FROM dependencies AS environment
COPY --from=wheel /wheels /wheels
RUN /opt/reveille/bin/pip install --no-deps --no-index /wheels/*.whl \
    && /opt/reveille/bin/python -m compileall -q /opt/reveille/lib \
    && /opt/reveille/bin/pip uninstall --quiet --yes pip setuptools

FROM base AS gpu-worker
RUN groupadd --gid 10001 reveille \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin reveille \
    && install --directory --owner=10001 --group=10001 /documents /models
COPY --chmod=0755 docker/gpu-entrypoint.sh /usr/local/bin/gpu-entrypoint
# OLLAMA_KEEP_ALIVE=-1 pins the weights on the GPU: the container's own life is the keep-alive.
ENV PATH=/opt/reveille/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    OLLAMA_HOST=http://127.0.0.1:11434 \
    OLLAMA_MODELS=/models \
    OLLAMA_KEEP_ALIVE=-1 \
    REVEILLE_HTTP_HOST=0.0.0.0 \
    REVEILLE_HTTP_PORT=8080 \
    REVEILLE_DOCUMENT_ROOT=/documents \
    REVEILLE_LOG_JSON=true
WORKDIR /tmp
USER 10001:10001
# Before the environment, so that a new release of the worker does not rebuild gigabytes.
ARG MODELS=""
RUN if [ -n "${MODELS}" ]; then REVEILLE_MODELS="${MODELS}" gpu-entrypoint true; fi
COPY --from=environment /opt/reveille /opt/reveille
COPY docker/healthcheck.py /opt/reveille/
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="reveille-gpu-worker" \
      org.opencontainers.image.description="Ollama and a Reveille worker in one container" \
      org.opencontainers.image.vendor="Reveille" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
EXPOSE 8080
VOLUME ["/models"]
# The first start may pull many gigabytes: half an hour passes before a missing answer counts.
HEALTHCHECK --interval=10s --timeout=8s --start-period=30m --retries=3 \
    CMD ["python", "-I", "/opt/reveille/healthcheck.py"]
ENTRYPOINT ["gpu-entrypoint"]
CMD ["python", "-m", "visual_worker"]
