# Grimace in a container: trains and animates, on CPU or CUDA (the host needs NVIDIA's container toolkit for the latter).
#   docker build -t grimace .                                              torch with CUDA, about 8 GB
#   docker build -t grimace --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu .      CPU only, about 2 GB
# How to run it: docs/docker.md.
ARG BASE=python:3.12-slim-bookworm
FROM ${BASE}

# OpenCV's wheel takes these from the system.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /grimace
COPY requirements.txt requirements-app.txt requirements-build.txt ./
ARG TORCH_INDEX=
# The index of CPU wheels holds torch and torchvision alone; it comes first for these two.
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --upgrade 'pip>=25.3' \
    && if [ -n "$TORCH_INDEX" ]; then \
           /venv/bin/pip install --no-cache-dir --index-url "$TORCH_INDEX" 'torch>=2.7,<3' 'torchvision>=0.22,<1'; \
       fi \
    && /venv/bin/pip install --no-cache-dir --build-constraint requirements-build.txt \
           -r requirements.txt -r requirements-app.txt

# Any user may run it (-u), so caches lie where any user may write.
ENV PATH=/venv/bin:$PATH GRIMACE_VENV=none PYTHONUNBUFFERED=1 HOME=/tmp XDG_CACHE_HOME=/tmp/cache

COPY . .
RUN mkdir -p dataset result eval_results \
    && chmod 777 dataset result eval_results \
    && cp docker/prepare.py /prepare.py \
    && ln -s docker/prepare.py prepare.py \
    && useradd --create-home grimace
USER grimace
VOLUME ["/grimace/dataset", "/grimace/result", "/grimace/eval_results"]
# The app and TensorBoard
EXPOSE 7860 6006
CMD ["python", "test.py", "--help"]
