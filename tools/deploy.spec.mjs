// What can be known of docker-compose.yml and the Dockerfiles without a Docker engine.
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { load } from 'js-yaml';
import { describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const read = (path) => readFileSync(join(ROOT, path), 'utf8');
const compose = load(read('docker-compose.yml'));
const services = Object.entries(compose.services);

describe('docker-compose.yml', () => {
  it('has the four services, each with a health check and a restart policy', () => {
    expect(Object.keys(compose.services).sort()).toEqual(['api', 'postgres', 'redis', 'worker']);
    for (const [name, service] of services) {
      expect(service.healthcheck?.test?.length, name).toBeGreaterThan(1);
      expect(service.restart, name).toBe('unless-stopped');
    }
  });

  it('keeps what must outlive a container in declared volumes', () => {
    const used = services.flatMap(([, { volumes = [] }]) =>
      volumes.map((text) => text.split(':')).filter((parts) => parts.length > 1),
    );
    const names = new Set(used.map(([name]) => name));
    expect([...names].sort()).toEqual(Object.keys(compose.volumes).sort());
  });

  it('runs Redis with an append-only file and without eviction', () => {
    const command = compose.services.redis.command.join(' ');
    expect(command).toContain('--appendonly yes');
    expect(command).toContain('--maxmemory-policy noeviction');
  });

  it('lets the worker be scaled, and gives it no database, no Redis and nothing shared but the join token', () => {
    const { worker } = compose.services;
    expect(worker.container_name).toBeUndefined();
    expect(worker.ports).toBeUndefined();
    expect(worker.volumes.filter((volume) => volume.includes(':'))).toEqual([
      'join:/var/lib/graft-join:ro',
    ]);
    expect(
      Object.keys(worker.environment).filter((name) => /DATABASE|QUEUE|REDIS|API_KEY/.test(name)),
    ).toEqual([]);
    expect(Object.keys(worker.depends_on)).toEqual(['api']);
  });

  it('waits for healthy services, and publishes nothing beyond this host', () => {
    for (const [name, { depends_on: needs = {}, ports = [] }] of services) {
      for (const [needed, { condition }] of Object.entries(needs)) {
        expect(compose.services[needed], `${name} needs ${needed}`).toBeDefined();
        expect(condition).toBe('service_healthy');
      }
      for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:/);
    }
  });

  it('goes without TLS only between containers', () => {
    const { api, worker } = compose.services;
    expect(api.environment.GRAFT_INSECURE_GRPC).toBe('1');
    const grpc = api.environment.GRAFT_GRPC_PORT;
    // a container reaches another one only beyond its own loopback
    expect(api.environment.GRAFT_GRPC_HOST).toBe('0.0.0.0');
    expect(worker.environment.GRAFT_WORKER_URL).toBe(`grpc://api:${grpc}`);
    for (const port of api.ports) expect(port.split(':').at(-1)).not.toBe(grpc);
  });

  it('sets only variables that docs/configuration.md explains, and asks for secrets instead of having them', () => {
    const documented = read('docs/configuration.md');
    for (const [name, { environment }] of services.filter(([, { build }]) => build)) {
      for (const variable of Object.keys(environment))
        expect(documented, `${name}: ${variable}`).toContain(`\`${variable}\``);
    }
    expect(compose.services.postgres.environment.POSTGRES_PASSWORD).toMatch(
      /^\$\{GRAFT_DATABASE_PASSWORD:\?/,
    );
  });
});

describe('the join token', () => {
  const { api, worker } = compose.services;

  it('is where the API writes it and the worker reads it, in a volume of its own', () => {
    const path = api.environment.GRAFT_JOIN_TOKEN_FILE;
    expect(worker.environment.GRAFT_WORKER_TOKEN_FILE).toBe(path);
    const folder = path.slice(0, path.lastIndexOf('/'));
    expect(api.volumes).toContain(`join:${folder}`);
    expect(Object.keys(worker.environment)).not.toContain('GRAFT_WORKER_TOKEN');
    // whichever container comes first, the volume belongs to the user that both run as
    for (const { build } of [api, worker])
      expect(read(build.dockerfile)).toMatch(new RegExp(`chown node:node [^\\n]*${folder}\\b`));
  });
});

describe.each(services.filter(([, { build }]) => build).map(([name, { build }]) => [name, build]))(
  'the image of %s',
  (_name, build) => {
    const lines = read(build.dockerfile)
      .replaceAll(/\\\n/g, ' ')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'));

    it('copies only what is in the repository, and every workspace before npm ci', () => {
      const copies = lines
        .filter((line) => line.startsWith('COPY ') && !line.includes('--from='))
        .map((line) => line.split(/\s+/).slice(1, -1));
      for (const path of copies.flat()) expect(existsSync(join(ROOT, path)), path).toBe(true);
      const { workspaces } = JSON.parse(read('package.json'));
      for (const workspace of workspaces)
        expect(copies.flat()).toContain(`${workspace}/package.json`);
    });

    it('declares the build arguments it is given, and stages before they are used', () => {
      const declared = new Set(
        lines.filter((line) => line.startsWith('ARG ')).map((line) => line.slice(4).split('=')[0]),
      );
      for (const name of Object.keys(build.args ?? {})) expect(declared.has(name), name).toBe(true);
      const stages = lines.flatMap((line) => /^FROM \S+ AS (\S+)/.exec(line)?.[1] ?? []);
      for (const line of lines) {
        const from = /--from=(\S+)/.exec(line)?.[1];
        if (from !== undefined && !from.includes(':')) expect(stages).toContain(from);
      }
    });

    it('starts a program that the TypeScript build makes, as another user than root', () => {
      const command = JSON.parse(lines.at(-1).replace('CMD ', ''));
      const script = command.at(-1);
      expect(
        statSync(join(ROOT, script.replace('/dist/', '/src/').replace(/\.js$/, '.ts'))).isFile(),
      ).toBe(true);
      expect(lines.filter((line) => line.startsWith('USER ')).at(-1)).toBe('USER node');
    });
  },
);
