# On a CPU:  docker build -t cq-companion . && docker run --rm -v "$PWD/reports/local:/project/reports/local" cq-companion
# On a GPU:  docker build -t cq-companion --build-arg TORCH=cu130 . && docker run --rm --gpus all cq-companion --profile study
# What comes after the image's name goes to run_all.sh; -v cq-runs:/project/runs keeps the trained models.
FROM python:3.13-slim
RUN apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir uv
WORKDIR /project
COPY . .
ARG TORCH=cpu
RUN uv venv && UV_TORCH_BACKEND=$TORCH uv pip install --no-cache --constraint requirements.lock --editable '.[notebooks]'
ENTRYPOINT ["./run_all.sh"]
