# A worker: the agent, the trainer and the native kernels. CPU by default; --build-arg CUDA=1 builds it
# against PyTorch's CUDA libraries. This image has not been run: see docs/guides/deployment.md.
ARG CUDA=0
ARG CUDA_IMAGE=nvidia/cuda:12.6.3-cudnn-devel-ubuntu24.04

FROM node:22-bookworm-slim AS machine-0
FROM ${CUDA_IMAGE} AS machine-1
COPY --from=node:22-bookworm-slim /usr/local /usr/local

FROM machine-${CUDA} AS build
ARG CUDA=0
# package index with CUDA builds of PyTorch, which contain libtorch
ARG TORCH_INDEX=https://download.pytorch.org/whl/cu126
RUN apt-get update \
 && apt-get install -y --no-install-recommends g++ cmake ninja-build ca-certificates python3 python3-pip \
 && rm -rf /var/lib/apt/lists/*
RUN if [ "$CUDA" = 1 ]; then \
      python3 -m pip install --break-system-packages --target /opt/torch --index-url "$TORCH_INDEX" torch==2.13.0; \
    fi
WORKDIR /graft
COPY package.json package-lock.json .npmrc ./
COPY libs/contracts/package.json libs/contracts/
COPY libs/kernels/package.json libs/kernels/
COPY libs/peft-core/package.json libs/peft-core/
COPY libs/examples/package.json libs/examples/
COPY apps/api/package.json apps/api/
COPY apps/worker/package.json apps/worker/
COPY apps/cli/package.json apps/cli/
COPY apps/dashboard/package.json apps/dashboard/
RUN npm ci --no-audit --no-fund
COPY tsconfig.json tsconfig.base.json ./
COPY tools/bundle.mjs tools/
COPY libs libs
COPY apps apps
# for CPU, the script downloads libtorch to /graft/.cache
RUN if [ "$CUDA" = 1 ]; then export LIBTORCH=/opt/torch/torch; fi \
 && node libs/kernels/scripts/build.mjs \
 && node node_modules/tsc7/bin/tsc -b \
 && node tools/bundle.mjs worker \
 && mkdir -p /opt/torch .cache \
 && npm prune --omit=dev --no-audit --no-fund

FROM machine-${CUDA}
ENV NODE_ENV=production
# uid 1000 as in the API's image, because only its owner can read the join token
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/* \
 && (id node >/dev/null 2>&1 || useradd --create-home --non-unique --uid 1000 node) \
 && mkdir -p /var/lib/graft-worker /var/lib/graft-join \
 && chown node:node /var/lib/graft-worker /var/lib/graft-join
WORKDIR /graft
COPY --from=build /opt/torch /opt/torch
COPY --from=build /graft/.cache .cache
COPY --from=build /graft/package.json ./
COPY --from=build /graft/node_modules node_modules
COPY --from=build /graft/libs libs
COPY --from=build /graft/apps apps
USER node
VOLUME /var/lib/graft-worker
CMD ["node", "--enable-source-maps", "apps/worker/bundle/main.js"]
