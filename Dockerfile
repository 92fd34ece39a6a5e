FROM python:3.13-slim

# A new volume takes its owner from the folder that is in its place.
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/configtrail configtrail \
    && install --directory --mode 0700 --owner configtrail /var/lib/configtrail/data

WORKDIR /opt/configtrail
COPY pyproject.toml constraints.txt README.md ./
COPY domain domain
COPY projections projections
COPY adapters adapters
RUN pip install --no-cache-dir --disable-pip-version-check -c constraints.txt .

USER configtrail
WORKDIR /var/lib/configtrail
ENV PYTHONUNBUFFERED=1 \
    CONFIGTRAIL_DATA_DIR=/var/lib/configtrail/data
EXPOSE 8480
HEALTHCHECK --interval=5s --timeout=4s --start-period=60s --retries=6 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8480/healthz', timeout=3)"]
ENTRYPOINT ["configtrail"]
CMD ["up"]
