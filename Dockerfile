# syntax=docker/dockerfile:1
# glibc, not musl: the wheels of CEL and RE2 exist for glibc only. The Python is the oldest we support: the tests run on it.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python -m venv /opt/remediator
COPY requirements.lock ./
RUN /opt/remediator/bin/python -m pip install --require-hashes --only-binary=:all: -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY remediator ./remediator
# The lock holds the build backend too, so nothing unpinned is fetched; afterwards neither it nor pip is needed.
RUN /opt/remediator/bin/python -m pip install --no-index --no-deps --no-build-isolation . \
 && /opt/remediator/bin/python -m pip check \
 && /opt/remediator/bin/python -m compileall -q /opt/remediator/lib \
 && /opt/remediator/bin/python -m pip uninstall --yes --quiet hatchling editables pathspec pluggy trove-classifiers pip setuptools

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="Remediator" \
      org.opencontainers.image.description="Turns an operations runbook into safe, proven action." \
      org.opencontainers.image.licenses="Apache-2.0"
# The name matters: the embedded PostgreSQL looks its user up.
RUN groupadd --gid 65532 remediator \
 && useradd --uid 65532 --gid 65532 --no-create-home --home-dir /var/lib/remediator --shell /usr/sbin/nologin remediator \
 && install -d -o 65532 -g 65532 -m 0700 /var/lib/remediator
COPY --from=build /opt/remediator /opt/remediator
COPY rules /etc/remediator/rules
ENV PATH=/opt/remediator/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    REMEDIATOR_HOST=0.0.0.0 \
    REMEDIATOR_DATA_DIR=/var/lib/remediator \
    REMEDIATOR_RULES_DIR=/etc/remediator/rules
USER 65532:65532
WORKDIR /var/lib/remediator
# With a read-only root only these two are written: docker run --read-only --tmpfs /tmp -v remediator:/var/lib/remediator
VOLUME ["/var/lib/remediator"]
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["remediator"]
CMD ["serve"]
