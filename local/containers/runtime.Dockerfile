# The runtime with its five functions, and the pixel that it serves. Built in stages: what builds stays behind.

FROM python:3.11-slim-bookworm AS python
WORKDIR /app
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
COPY local/containers/requirements.txt /tmp/
RUN python -m venv /venv \
 && /venv/bin/pip install --quiet --require-hashes -r /tmp/requirements.txt \
 && /venv/bin/pip uninstall --quiet --yes pip setuptools \
 && find /venv -name tests -type d -prune -exec rm -rf {} +
# Every start of a function imports what is here, so it is compiled once, now.
COPY functions functions
COPY layers layers
COPY local local
RUN printf '%s\n' /app/layers/storage/python /app/layers/httpapi/python /app/functions /app/local \
      > /venv/lib/python3.11/site-packages/evothesis.pth \
 && /venv/bin/python -m compileall -q -j 0 /venv/lib /app

FROM python:3.11-slim-bookworm AS pixel
WORKDIR /app/pixel
COPY local/containers/node-requirements.txt /tmp/
RUN pip install --quiet --require-hashes -r /tmp/node-requirements.txt
# The system's certificates: where a company's proxy stands between, they have its own.
ENV NODE_OPTIONS=--use-openssl-ca
COPY pixel/package.json pixel/package-lock.json pixel/.npmrc ./
RUN npm ci --no-audit --no-fund --loglevel=error
COPY functions/collect/rules.json /app/functions/collect/
COPY pixel ./
RUN npm run --silent build

FROM python:3.11-slim-bookworm AS owner
RUN groupadd --gid 10001 evothesis \
 && useradd --uid 10001 --gid evothesis --no-create-home --home-dir /data --shell /usr/sbin/nologin evothesis \
 && install -d -o evothesis -g evothesis -m 0700 /data /work \
 && install -d -o evothesis -g evothesis -m 0755 /secrets

# An image of its own, which another release leaves as it is: PostgreSQL, which waits for it, runs on.
FROM owner AS secrets
COPY local/containers/database_password.py /
USER evothesis
CMD ["python", "/database_password.py"]

FROM owner
# As the first process it buries what functions leave behind.
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends tini && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY --from=python /venv /venv
COPY --from=python /app /app
COPY --from=pixel /app/pixel/dist pixel/dist
COPY pixel/demo pixel/demo
COPY sam-template.yaml pyproject.toml ./
ENV PATH=/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 \
    EVOTHESIS_DATA_DIR=/data EVOTHESIS_HOST=0.0.0.0 EVOTHESIS_METRICS_PORT=9100 TMPDIR=/work
RUN printf '#!/bin/sh\nexec /venv/bin/python -c "import sys; from cli.main import main; sys.exit(main())" "$@"\n' > /venv/bin/evothesis \
 && chmod 755 /venv/bin/evothesis \
 && version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml) \
 && mkdir "/venv/lib/python3.11/site-packages/evothesis-$version.dist-info" \
 && printf 'Metadata-Version: 2.1\nName: evothesis\nVersion: %s\n' "$version" > "/venv/lib/python3.11/site-packages/evothesis-$version.dist-info/METADATA"
USER evothesis
EXPOSE 8000 9100
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=6 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["tini", "--"]
CMD ["evothesis", "run"]
