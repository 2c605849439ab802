# docker build -t cq-companion --build-arg USER_ID=$(id -u) \
#     --build-arg COMMIT=$(git describe --always --abbrev=40 --exclude='*' --dirty) .     on a GPU: --build-arg TORCH=cu130
# mkdir -p reports/local
# docker run --rm -v cq-runs:/project/runs -v cq-data:/project/data -e TORCH_HOME=/project/data/torch \
#     -v "$PWD/reports/local:/project/reports/local" cq-companion
# On a GPU add --gpus all before the image's name. What comes after it goes to run_all.sh. Trained models stay in the
# volume cq-runs, so that a run which was stopped goes on, and what was fetched in cq-data; the report is in
# reports/local, and is yours. Records name the commit.
FROM python:3.13-slim
RUN pip install --no-cache-dir uv
ARG USER_ID=1000
RUN useradd --non-unique --uid $USER_ID --create-home cq && install --directory --owner=cq /project
USER cq
WORKDIR /project
COPY --chown=cq . .
ARG TORCH=cpu
RUN uv venv && UV_TORCH_BACKEND=$TORCH uv pip install --no-cache --constraint requirements.lock --editable '.[notebooks]'
RUN mkdir -p runs data reports/local
ARG COMMIT
ENV CQLIB_COMMIT=$COMMIT
ENTRYPOINT ["./run_all.sh"]
