# dlcli in a container.
#   docker build -t dlcli .                          with CUDA, for NVIDIA GPUs; also runs on machines without one
#   docker build -t dlcli --build-arg VARIANT=cpu .  without CUDA, a third of the size
#   docker run --rm --gpus all --user "$(id -u):$(id -g)" -v "$PWD:/work" dlcli train spec.yaml
FROM python:3.12-slim

ARG VARIANT=gpu
ENV HOME=/home/dlcli \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

# Any user may be given with --user, so the home folder, where data sets and weights are kept, is open to all.
RUN useradd --create-home --uid 1000 dlcli && chmod 1777 /home/dlcli

# The packages come before the code: a change of the code leaves this layer alone.
WORKDIR /opt/dlcli
COPY requirements.lock requirements-gpu.lock ./
RUN case "$VARIANT" in \
        gpu) lock=requirements-gpu.lock ;; \
        cpu) lock=requirements.lock ;; \
        *) echo "VARIANT must be gpu or cpu, not '$VARIANT'" >&2; exit 1 ;; \
    esac \
    && pip install --no-cache-dir --no-compile --require-hashes -r "$lock" \
    && { python -m compileall -qq -j 0 "$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" || true; }

COPY pyproject.toml README.md LICENSE ./
COPY configs configs
COPY src src
RUN pip install --no-cache-dir --no-compile --no-build-isolation --no-deps . \
    && python -m compileall -qq "$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/dlcli"

USER dlcli
WORKDIR /work
ENTRYPOINT ["dlcli"]
CMD ["--help"]
