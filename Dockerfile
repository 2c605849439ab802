# docker build -t cq-companion .                            on a GPU:  --build-arg TORCH=cu130
# docker run --rm -v cq-runs:/project/runs -v cq-data:/project/data -e TORCH_HOME=/project/data/torch \
#     -v "$PWD/reports/local:/project/reports/local" cq-companion
# On a GPU add --gpus all before the image's name. What comes after it goes to run_all.sh. Trained models stay in the
# volume cq-runs, so that a run which was stopped goes on, and what was fetched in cq-data; the report is in reports/local.
FROM python:3.13-slim
RUN apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir uv
WORKDIR /project
COPY . .
ARG TORCH=cpu
RUN uv venv && UV_TORCH_BACKEND=$TORCH uv pip install --no-cache --constraint requirements.lock --editable '.[notebooks]'
ENTRYPOINT ["./run_all.sh"]
