// Checks of the Helm chart, its rendered manifests and the systemd units that need no cluster.
import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { load, loadAll } from 'js-yaml';
import { describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const read = (path) => readFileSync(join(ROOT, path), 'utf8');
const MANIFESTS = readdirSync(join(ROOT, 'deploy/kubernetes')).filter((name) =>
  name.endsWith('.yaml'),
);
const UNITS = ['graft-api', 'graft-worker'];
const runs = (program, ...args) => spawnSync(program, args, { stdio: 'ignore' }).status === 0;
/** Whether a tool is installed. `npm test` does not require it. */
const PYTHON = process.env.GRAFT_HELM_PYTHON || 'python3';
const hasHelm = runs(PYTHON, '-c', 'import helm_python, kubernetes_validate, yaml');

/** Renders a template of the chart with values. */
const RENDER = `
import json, sys
import helm_python as helm
with helm.Chart.load(sys.argv[1]) as chart:
    files = chart.render(json.loads(sys.argv[2]), name='graft', namespace='graft')
print(next(text for name, text in files.items() if name.endswith(sys.argv[3])))
`;

const known = (...paths) =>
  new Set(paths.flatMap((path) => read(path).match(/\b(GRAFT|HF|AWS)_[A-Z0-9_]+\b/g)));
const SETTINGS = {
  api: known('apps/api/src/main.ts', 'apps/api/src/options.ts'),
  worker: known('apps/worker/src/agent/options.ts'),
};

describe.each(MANIFESTS)('%s', (name) => {
  const objects = loadAll(read(`deploy/kubernetes/${name}`)).filter(Boolean);
  const of = (kind) => objects.filter((one) => one.kind === kind);
  const deployments = of('Deployment');
  const api = deployments.find(({ metadata }) => metadata.name === 'graft-api');
  const workers = deployments.filter((one) => one !== api);
  const podOf = (deployment) => deployment.spec.template.spec;
  const [apiContainer] = podOf(api).containers;
  const env = (container) =>
    Object.fromEntries(container.env.map((one) => [one.name, one.value ?? one.valueFrom]));

  it('has unique names, and selectors that match its pods', () => {
    const names = objects.map(({ kind, metadata }) => `${kind} ${metadata.name}`);
    expect(new Set(names).size).toBe(names.length);
    for (const { spec } of deployments)
      expect(spec.template.metadata.labels).toMatchObject(spec.selector.matchLabels);
    const selectors = deployments.map(({ spec }) => JSON.stringify(spec.selector.matchLabels));
    expect(new Set(selectors).size).toBe(selectors.length);
    for (const { spec, metadata } of of('PodDisruptionBudget'))
      expect(selectors, metadata.name).toContain(JSON.stringify(spec.selector.matchLabels));
    expect(of('PodDisruptionBudget')).toHaveLength(deployments.length);
  });

  it('sets only variables that the API and worker read', () => {
    for (const variable of Object.keys(env(apiContainer)))
      if (!variable.startsWith('AWS_')) expect(SETTINGS.api).toContain(variable);
    for (const worker of workers)
      for (const variable of Object.keys(env(podOf(worker).containers[0])))
        expect(SETTINGS.worker).toContain(variable);
  });

  it('gives workers no access to the database and S3, and contains no secret values', () => {
    for (const worker of workers)
      expect(JSON.stringify(worker)).not.toMatch(/DATABASE|QUEUE|AWS|graft-api/);
    expect(of('Secret')).toEqual([]);
    expect(env(apiContainer)['GRAFT_DATABASE_URL']).toEqual({
      secretKeyRef: { name: 'graft-api', key: 'database-url' },
    });
  });

  it('runs nothing as root, with writable volumes only and no service account', () => {
    for (const deployment of deployments) {
      const pod = podOf(deployment);
      expect(pod.automountServiceAccountToken).toBe(false);
      expect(pod.securityContext).toMatchObject({
        runAsNonRoot: true,
        seccompProfile: { type: 'RuntimeDefault' },
      });
      for (const { securityContext, volumeMounts } of pod.containers) {
        expect(securityContext).toEqual({
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ['ALL'] },
        });
        const volumes = pod.volumes.map((volume) => volume.name);
        expect(volumeMounts.map((mount) => mount.name).sort()).toEqual(volumes.sort());
      }
    }
  });

  it('uses consistent ports in settings, containers, services, policies and probes', () => {
    const port = Object.fromEntries(
      apiContainer.ports.map(({ name: portName, containerPort }) => [portName, containerPort]),
    );
    const set = env(apiContainer);
    expect(String(port.http)).toBe(set.GRAFT_PORT);
    expect(String(port.gateway)).toBe(set.GRAFT_GRPC_PORT);
    expect(String(port.relay)).toBe(set.GRAFT_RELAY_PORT);
    expect(port.scaler && String(port.scaler)).toBe(set.GRAFT_SCALER_PORT);
    const services = Object.fromEntries(of('Service').map((one) => [one.metadata.name, one.spec]));
    for (const { selector, ports } of Object.values(services)) {
      expect(api.spec.template.metadata.labels).toMatchObject(selector);
      for (const one of ports) expect(port[one.targetPort]).toBe(one.port);
    }
    const policy = of('NetworkPolicy').find(({ metadata }) => metadata.name === 'graft-api');
    expect(policy.spec.ingress.map(({ ports }) => ports[0].port).sort()).toEqual(
      Object.values(port).sort(),
    );
    for (const probe of ['startupProbe', 'livenessProbe', 'readinessProbe'])
      expect(apiContainer[probe].httpGet.port).toBe('http');
    expect(apiContainer.readinessProbe.httpGet.path).toBe('/readyz');
    expect(apiContainer.livenessProbe.httpGet.path).toBe('/healthz');
    for (const worker of workers) {
      const set = env(podOf(worker).containers[0]);
      const url = new URL(set.GRAFT_WORKER_URL.replace(/^grpcs?:/, 'http:'));
      expect(services[url.hostname.split('.')[0]].ports[0].port).toBe(Number(url.port));
      const tls = env(apiContainer).GRAFT_GRPC_TLS_CERT !== undefined;
      expect(set.GRAFT_WORKER_URL.startsWith('grpcs:')).toBe(tls);
    }
  });

  it('has several API processes that find each other, and at least one at any time', () => {
    expect(api.spec.replicas).toBeGreaterThanOrEqual(2);
    expect(api.spec.strategy.rollingUpdate.maxUnavailable).toBe(0);
    expect(env(apiContainer).GRAFT_RELAY_HOST).toEqual({
      fieldRef: { fieldPath: 'status.podIP' },
    });
    expect(podOf(api).affinity.podAntiAffinity).toBeDefined();
  });

  it('gives workers time to drain, and allows them to reach only the gateway and DNS', () => {
    for (const worker of workers) {
      expect(podOf(worker).terminationGracePeriodSeconds).toBeGreaterThan(60);
      for (const { lifecycle } of podOf(worker).containers) expect(lifecycle).toBeUndefined();
      const policy = of('NetworkPolicy').find(({ metadata }) => metadata.name === 'graft-worker');
      expect(worker.spec.template.metadata.labels).toMatchObject(
        policy.spec.podSelector.matchLabels,
      );
      expect(policy.spec.policyTypes).toEqual(['Ingress', 'Egress']);
      expect(policy.spec.ingress).toBeUndefined();
      const reached = policy.spec.egress.flatMap(({ ports }) => ports.map((one) => one.port));
      expect(reached).toEqual([8081, 53, 53]);
    }
  });

  it('scales each pool by its own slots with KEDA, without a fixed number of workers', () => {
    const scaled = of('ScaledObject');
    for (const { spec } of scaled) {
      const worker = workers.find(({ metadata }) => metadata.name === spec.scaleTargetRef.name);
      expect(worker.spec).not.toHaveProperty('replicas');
      const { GRAFT_WORKER_POOL: pool, GRAFT_WORKER_SLOTS: slots } = env(
        podOf(worker).containers[0],
      );
      const [{ type, metadata }] = spec.triggers;
      if (type === 'external-push') {
        expect(metadata).toMatchObject({ pool, slotsPerWorker: slots });
        const service = metadata.scalerAddress.split('.')[0];
        expect(of('Service').map((one) => one.metadata.name)).toContain(service);
      } else {
        expect([type, metadata.threshold]).toEqual(['prometheus', slots]);
        expect(metadata.query).toContain(`{pool="${pool}"}`);
        const gauge = /\b(graft_\w+)\{/.exec(metadata.query)[1];
        expect(read('apps/api/src/metrics/counters.ts')).toContain(`'${gauge}'`);
      }
    }
    expect(scaled).toHaveLength(workers[0].spec.replicas === undefined ? workers.length : 0);
  });
});

describe('the chart', () => {
  it('has all values that its templates use', () => {
    const values = load(read('deploy/helm/graft/values.yaml'));
    const templates = readdirSync(join(ROOT, 'deploy/helm/graft/templates'));
    for (const file of templates)
      for (const [, path] of read(`deploy/helm/graft/templates/${file}`).matchAll(
        /\.Values\.([\w.]+)/g,
      ))
        expect(
          path.split('.').reduce((at, key) => at?.[key], values),
          `${file}: ${path}`,
        ).toBeDefined();
  });

  const rendered = (values, template) =>
    spawnSync(
      PYTHON,
      ['-c', RENDER, join(ROOT, 'deploy/helm/graft'), JSON.stringify(values), template],
      { encoding: 'utf8' },
    );

  it.skipIf(!hasHelm)('uses defaults for missing values of a pool, and validates names', () => {
    const { stdout, stderr } = rendered(
      { pools: [{ name: 'default' }, { name: 'second', replicas: 0 }] },
      'workers.yaml',
    );
    const [first, second] = loadAll(stdout).filter((one) => one?.kind === 'Deployment');
    expect(first?.metadata.name, stderr).toBe('graft-worker-default');
    expect([first.spec.replicas, second.spec.replicas]).toEqual([1, 0]);
    const podOf = ({ spec }) => spec.template.spec;
    expect(podOf(second).containers[0].resources).toEqual(podOf(first).containers[0].resources);
    expect(podOf(second).volumes).toEqual(podOf(first).volumes);
    for (const pool of [{ name: 'No_Pool' }, { replicas: 1 }])
      expect(rendered({ pools: [pool] }, 'workers.yaml').stderr, JSON.stringify(pool)).toMatch(
        /pools.*name/s,
      );
  });

  it.skipIf(!hasHelm)('migrates in a hook, with the database of the API', () => {
    const [hook] = loadAll(rendered({}, 'migrate.yaml').stdout).filter(Boolean);
    expect(hook.metadata.annotations['helm.sh/hook']).toBe('pre-install,pre-upgrade');
    const [api] = loadAll(rendered({}, 'api.yaml').stdout);
    const [migrate, container] = [hook, api].map(({ spec }) => spec.template.spec.containers[0]);
    expect(migrate.image).toBe(container.image);
    expect(migrate.args.at(-1)).toBe('--migrate-only');
    expect(migrate.env.map(({ name }) => name)).toEqual([
      'GRAFT_HOME',
      'GRAFT_DATABASE_URL',
      'GRAFT_QUEUE_URL',
    ]);
    expect(container.env).toEqual(expect.arrayContaining(migrate.env));
    const none = rendered({ api: { migrateFirst: false } }, 'migrate.yaml').stdout;
    expect(loadAll(none).filter(Boolean)).toEqual([]);
  });

  it.skipIf(!hasHelm)(
    'renders to the manifests in the repository, which are valid for Kubernetes',
    () => {
      execFileSync(PYTHON, [join(ROOT, 'deploy/kubernetes/render.py'), '--check']);
    },
  );
});

describe.each(UNITS)('%s.service', (name) => {
  const text = read(`deploy/systemd/${name}.service`);
  const value = (key) => new RegExp(`^${key}=(.*)$`, 'm').exec(text)?.[1];

  it('starts an existing program, sets only variables that it reads, and has time to shut down', () => {
    const [, script] = /(apps\/\w+)\/bundle\/main\.js$/.exec(value('ExecStart'));
    expect(read(`${script}/src/main.ts`)).not.toBe('');
    const side = name.slice('graft-'.length);
    for (const [variable] of text.matchAll(/\bGRAFT_[A-Z_]+(?==)/g))
      expect(SETTINGS[side]).toContain(variable);
    expect(value('KillMode')).toBe('mixed');
    expect(Number(value('TimeoutStopSec'))).toBeGreaterThan(side === 'worker' ? 60 : 15);
    expect(value('RestartPreventExitStatus')).toBe('2');
  });

  it.skipIf(!runs('systemd-analyze', '--version'))('is valid for systemd', () => {
    const unit = join(ROOT, `deploy/systemd/${name}.service`);
    const { stdout, stderr } = spawnSync('systemd-analyze', ['verify', unit], { encoding: 'utf8' });
    // Ignore messages about users, programs and folders, which depend on the machine.
    const said = `${stdout}${stderr}`
      .split('\n')
      .filter((line) => line.includes(`${name}.service`));
    expect(said.filter((line) => /unknown|invalid|failed to parse|ignoring/i.test(line))).toEqual(
      [],
    );
  });
});
