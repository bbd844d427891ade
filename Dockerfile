# syntax=docker/dockerfile:1

# A tag that moves with security fixes of Python 3.13 and Debian. Pin its digest where images are built for good.
ARG PYTHON=python:3.13-slim-bookworm

FROM ${PYTHON} AS build
WORKDIR /source
COPY deploy/image/install.sh deploy/image/
COPY requirements/build.lock requirements/runtime.lock requirements/
COPY pyproject.toml README.md LICENSE ./
COPY clients/python clients/python
COPY gateway gateway
RUN ["sh", "deploy/image/install.sh", "/source", "/opt/swr-gateway"]

FROM ${PYTHON}
ARG VERSION=""
ARG REVISION=""
LABEL org.opencontainers.image.title="swr-gateway" \
      org.opencontainers.image.description="A gRPC gateway in front of Huawei Cloud SWR's REST list of image repositories" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# The image of Python comes without compiled modules, and in a read-only container each start would compile them.
RUN ["python3", "-c", "import compileall, py_compile, re, sysconfig; compileall.compile_dir(sysconfig.get_path('stdlib'), quiet=1, rx=re.compile('/(test|tests|site-packages)/'), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)"]
COPY --from=build /opt/swr-gateway /opt/swr-gateway

# Beyond 127.0.0.1, for nobody reaches that from outside a container. With a credential of its own the gateway then
# starts only with mutual TLS, or ALLOW_INSECURE.
ENV PATH=/opt/swr-gateway/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SWR_GATEWAY_LISTEN=0.0.0.0:50051 \
    SWR_GATEWAY_ADMIN_LISTEN=0.0.0.0:9464
EXPOSE 50051 9464

# A number, so that Kubernetes sees that it is not root. Nothing is written, so the root file system may be read-only. No
# step needs a shell from here on.
USER 65532:65532
STOPSIGNAL SIGTERM
# No HEALTHCHECK: the orchestrator asks /livez, /readyz or grpc.health.v1, and a check in here would start a Python
# every few seconds.
ENTRYPOINT ["swr-gateway"]
CMD ["serve"]
