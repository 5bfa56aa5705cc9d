# The API with the dashboard. It runs no models, so the image has no libtorch and no compiler.
# This image has not been run: see docs/guides/deployment.md.
FROM node:22-bookworm-slim AS build
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
RUN node node_modules/tsc7/bin/tsc -b \
 && node tools/bundle.mjs api \
 && cd apps/dashboard && node ../../node_modules/vite/bin/vite.js build \
 && cd ../.. && npm prune --omit=dev --no-audit --no-fund

# util-linux 2.41, whose setpriv supports Landlock and seccomp (docs/guides/security.md, "Files of users")
FROM node:22-trixie-slim
ENV NODE_ENV=production
WORKDIR /graft
COPY --from=build /graft/package.json ./
COPY --from=build /graft/node_modules node_modules
COPY --from=build /graft/libs libs
COPY --from=build /graft/apps apps
# a new volume inherits the owner of the folder that it is mounted on
RUN mkdir -p /var/lib/graft /var/lib/graft-join && chown node:node /var/lib/graft /var/lib/graft-join
USER node
VOLUME /var/lib/graft
EXPOSE 8080 8081
CMD ["node", "--enable-source-maps", "apps/api/bundle/main.js"]
