// Checks of docker-compose.yml and the Dockerfiles that need no Docker engine.
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { load, YAML11_SCHEMA } from 'js-yaml';
import { describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const read = (path) => readFileSync(join(ROOT, path), 'utf8');
// YAML 1.1 has merge keys, as in Compose.
const compose = load(read('docker-compose.yml'), { schema: YAML11_SCHEMA });
const services = Object.entries(compose.services);
/** Services that run once and exit. */
const once = ['migrate'];

describe('docker-compose.yml', () => {
  it('has its services, each with a health check and a restart policy', () => {
    expect(Object.keys(compose.services).sort()).toEqual([
      'api',
      'gateway',
      'migrate',
      'postgres',
      'proxy',
      'redis',
      'worker',
    ]);
    for (const [name, service] of services.filter(([name]) => !once.includes(name))) {
      expect(service.healthcheck?.test?.length, name).toBeGreaterThan(1);
      expect(service.restart, name).toBe('unless-stopped');
    }
  });

  it('stores persistent data in declared volumes', () => {
    const used = services.flatMap(([, { volumes = [] }]) =>
      volumes
        .filter((text) => !text.startsWith('.'))
        .map((text) => text.split(':'))
        .filter((parts) => parts.length > 1),
    );
    const names = new Set(used.map(([name]) => name));
    expect([...names].sort()).toEqual(Object.keys(compose.volumes).sort());
  });

  it('confines every container: few capabilities, no new privileges, limited memory, read-only files', () => {
    for (const [name, service] of services) {
      expect(service.cap_drop, name).toEqual(['ALL']);
      expect(service.security_opt, name).toEqual(['no-new-privileges:true']);
      expect(service.read_only, name).toBe(true);
      expect(service.mem_limit, name).toMatch(/\d+[mg]\}?$/);
      expect(service.privileged, name).toBeUndefined();
      if (service.cap_add) expect(['postgres', 'redis']).toContain(name);
    }
  });

  it('allows workers to reach only the gateway, and only the API to reach the database and Redis', () => {
    const on = (network) =>
      services.filter(([, { networks }]) => networks.includes(network)).map(([name]) => name);
    expect(on('data').sort()).toEqual(['api', 'migrate', 'postgres', 'redis']);
    expect(on('workers').sort()).toEqual(['gateway', 'worker']);
    expect(on('api').sort()).toEqual(['api', 'gateway', 'proxy']);
    for (const network of ['data', 'workers'])
      expect(compose.networks[network].internal).toBe(true);
    expect(compose.services.worker.networks).toEqual(['workers']);
  });

  it('runs two API processes that reach each other, behind proxies for their ports', () => {
    const { api, proxy, gateway } = compose.services;
    expect(api.deploy.replicas).toBe(2);
    expect(api.container_name).toBeUndefined();
    expect(api.environment.GRAFT_RELAY_HOST).toBe('0.0.0.0');
    for (const [service, file, port, bound, health] of [
      [proxy, 'rest', api.environment.GRAFT_PORT, 8080, 'readyz'],
      [gateway, 'gateway', api.environment.GRAFT_GRPC_PORT, 8081, 'healthz'],
    ]) {
      expect(service.volumes).toEqual([
        `./deploy/${file}.haproxy.cfg:/usr/local/etc/haproxy/haproxy.cfg:ro`,
      ]);
      const config = read(`deploy/${file}.haproxy.cfg`);
      expect(config).toContain(` api:${port} `);
      expect(config).toContain(`bind :${bound}`);
      expect(config).toContain(`option httpchk GET /${health}\n`);
    }
    // gRPC uses HTTP/2 on both sides.
    const config = read('deploy/gateway.haproxy.cfg');
    expect(config).toMatch(/bind :8081 proto h2/);
    expect(config).toMatch(/api:8081 proto h2/);
  });

  it('runs Redis with a password and an append-only file, without eviction', () => {
    const { redis, api } = compose.services;
    const command = redis.command.join(' ');
    expect(command).toContain('--requirepass "$$GRAFT_REDIS_PASSWORD"');
    expect(redis.environment.GRAFT_REDIS_PASSWORD).toMatch(/^\$\{GRAFT_REDIS_PASSWORD:\?/);
    expect(api.environment.GRAFT_QUEUE_URL).toContain('redis://:${GRAFT_REDIS_PASSWORD}@redis');
    expect(command).toContain('--appendonly yes');
    expect(command).toContain('--maxmemory-policy noeviction');
  });

  it('has a scalable worker that shares only the join token, without database and Redis', () => {
    const { worker } = compose.services;
    expect(worker.container_name).toBeUndefined();
    expect(worker.ports).toBeUndefined();
    expect(worker.volumes.filter((volume) => volume.includes(':'))).toEqual([
      'join:/var/lib/graft-join:ro',
    ]);
    expect(
      Object.keys(worker.environment).filter((name) => /DATABASE|QUEUE|REDIS|API_KEY/.test(name)),
    ).toEqual([]);
    expect(Object.keys(worker.depends_on)).toEqual(['gateway']);
  });

  it('migrates the database before the API starts, with the same image and database', () => {
    const { api, migrate } = compose.services;
    expect(migrate.build).toEqual(api.build);
    expect(migrate.command.slice(-2)).toEqual(['apps/api/bundle/main.js', '--migrate-only']);
    for (const name of ['GRAFT_DATABASE_URL', 'GRAFT_QUEUE_URL'])
      expect(migrate.environment[name]).toBe(api.environment[name]);
    expect(migrate.restart).toMatch(/^on-failure:\d+$/);
    expect(api.depends_on.migrate).toBeDefined();
  });

  it('waits for healthy services, and publishes nothing beyond this host', () => {
    for (const [name, { depends_on: needs = {}, ports = [] }] of services) {
      for (const [needed, { condition }] of Object.entries(needs)) {
        expect(compose.services[needed], `${name} needs ${needed}`).toBeDefined();
        expect(condition).toBe(
          once.includes(needed) ? 'service_completed_successfully' : 'service_healthy',
        );
      }
      for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:/);
    }
  });

  it('uses plain text only between containers', () => {
    const { api, gateway, worker } = compose.services;
    expect(api.environment.GRAFT_INSECURE_GRPC).toBe('1');
    // Containers reach each other only by network addresses, not by loopback.
    expect(api.environment.GRAFT_GRPC_HOST).toBe('0.0.0.0');
    expect(worker.environment.GRAFT_WORKER_URL).toBe('grpc://gateway:8081');
    expect([api.ports, gateway.ports]).toEqual([undefined, undefined]);
  });

  it('passes the OpenTelemetry variables of its environment to the API', () => {
    const { environment } = compose.services.api;
    const documented = read('docs/reference/configuration.md').match(/\bOTEL_[A-Z_]+\b/g);
    expect(documented.length).toBeGreaterThan(1);
    // Names have no value, because an empty value would be an invalid address.
    for (const name of documented) expect([name, environment[name]]).toEqual([name, null]);
    expect(
      Object.keys(environment)
        .filter((name) => /^OTEL_/.test(name))
        .sort(),
    ).toEqual([...new Set(documented)].sort());
  });

  it('sets only documented variables, and requires secrets from the environment', () => {
    const documented = read('docs/reference/configuration.md');
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

  it('is in its own volume, where the API writes it and the worker reads it', () => {
    const path = api.environment.GRAFT_JOIN_TOKEN_FILE;
    expect(worker.environment.GRAFT_WORKER_TOKEN_FILE).toBe(path);
    const folder = path.slice(0, path.lastIndexOf('/'));
    expect(api.volumes).toContain(`join:${folder}`);
    expect(Object.keys(worker.environment)).not.toContain('GRAFT_WORKER_TOKEN');
    // Whichever container starts first, the volume belongs to the user of both.
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

    it('copies only files of the repository, and every workspace before npm ci', () => {
      const copies = lines
        .filter((line) => line.startsWith('COPY ') && !line.includes('--from='))
        .map((line) => line.split(/\s+/).slice(1, -1));
      for (const path of copies.flat()) expect(existsSync(join(ROOT, path)), path).toBe(true);
      const { workspaces } = JSON.parse(read('package.json'));
      for (const workspace of workspaces)
        expect(copies.flat()).toContain(`${workspace}/package.json`);
    });

    it('declares its build arguments, and its stages before their use', () => {
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

    it('starts a built program as a user other than root', () => {
      const command = JSON.parse(lines.at(-1).replace('CMD ', ''));
      const script = command.at(-1);
      expect(
        statSync(join(ROOT, script.replace('/bundle/', '/src/').replace(/\.js$/, '.ts'))).isFile(),
      ).toBe(true);
      expect(lines.filter((line) => line.startsWith('USER ')).at(-1)).toBe('USER node');
    });
  },
);
