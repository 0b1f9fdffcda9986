# The engine of compose.yaml: llama.cpp's server, built from source (minutes), and a model of 700 KB with random weights.
FROM python:3.13-trixie AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY deploy/image/demo.txt ./
RUN ["pip", "install", "--no-deps", "--only-binary=:all:", "--require-hashes", "--requirement=demo.txt"]
COPY agent agent
COPY deploy/image/engine.py ./
RUN ["python", "engine.py", "/engine"]

FROM debian:trixie-slim
LABEL org.opencontainers.image.title="joulecar-demo-engine" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /engine /engine
USER 10001:10001
EXPOSE 8080
ENTRYPOINT ["/engine/llama-server", "--model", "/engine/model.gguf", "--alias", "joulecar-demo", \
            "--host", "0.0.0.0", "--port", "8080", "--metrics", "--parallel", "4", "--ctx-size", "8192", "--threads", "1"]
