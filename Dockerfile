# The mirror for a MongoDB of your own; compose.yaml shows the whole, docs/operations.md (Containers) what to know.
#   docker build -t clientsync .
#   docker run --read-only --cap-drop ALL --stop-timeout 20 --restart unless-stopped -v clientsync:/var/lib/clientsync \
#     -v "$PWD/secrets:/run/secrets:ro" -e MONGO_URI_FILE=/run/secrets/mongo-uri -e ANON_KEY_FILE=/run/secrets/anon-key \
#     clientsync         # both files readable by the user 10001

FROM python:3.13.7-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE .env.example ./
COPY supervisor supervisor
COPY procs procs
RUN pip wheel --no-cache-dir --disable-pip-version-check --wheel-dir /wheels . \
 && python -m venv --without-pip /opt/clientsync \
 && pip --python /opt/clientsync/bin/python install --no-cache-dir --disable-pip-version-check \
        --no-index /wheels/*.whl

FROM python:3.13.7-slim-bookworm
COPY --from=build /opt/clientsync /opt/clientsync
RUN useradd --system --uid 10001 --user-group --home-dir /var/lib/clientsync --shell /usr/sbin/nologin clientsync \
 && install -d -m 0700 -o clientsync -g clientsync /var/lib/clientsync
ENV PATH=/opt/clientsync/bin:$PATH \
    STATE_DIR=/var/lib/clientsync
USER 10001:10001
WORKDIR /var/lib/clientsync
VOLUME ["/var/lib/clientsync"]
STOPSIGNAL SIGTERM
# Unhealthy is also whoever waits for MongoDB or scans: a sign for people, no reason to restart it.
HEALTHCHECK --interval=15s --timeout=10s --start-period=60s --retries=4 \
  CMD ["clientsync-supervisor", "status"]
ENTRYPOINT ["clientsync-supervisor"]
CMD ["start", "sync"]
