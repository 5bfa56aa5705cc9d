import { defineConfig, type TestProjectInlineConfiguration } from 'vitest/config';
import { SpecOrder } from './tools/spec-order.mjs';

// Files of the tier `all` are left out unless it runs or the command line names files (tools/run-tests.mjs, docs/testing.md).
const tier = process.env['GRAFT_TEST_TIER'];
const notInTier = tier === 'quick' || tier === 'default' ? ['**/*.all.spec.ts'] : [];

// Specs of one project share a few processes and the modules that these have loaded, because loading the API or the core
// takes 2 to 3 s of CPU. So a spec has to put back what it changes outside itself, such as variables of the environment.
// These need a process of their own:
const ISOLATED = [
  // measures by how much the memory of its process grows
  'apps/api/test/parquet.spec.ts',
  // adds to a registry of the product, which an API in the same process may have read before
  'test/e2e/one-more-number.spec.ts',
  // kills servers and counts processes
  'test/chaos/**/*.spec.ts',
  'test/{fuzz,mutations,parity,run,trainer}/**/*.spec.ts',
];
const BROWSERS = ['test/e2e/{dashboard*,while-it-trains}.spec.ts'];

/** The files of the tier `quick` beside the unit specs. Each area of the product has one that goes through most of it. */
const QUICK = {
  numbers: ['test/golden/{golden,covering,heads,generation}.spec.ts', 'test/pack/pack.spec.ts'],
  servers: [
    'access',
    'administration',
    'adapter-upload',
    'answers',
    'eval-claims',
    'evals',
    'formats',
    'gateway',
    'inference',
    'isolation',
    'keys',
    'models',
    'openai',
    'openapi',
    'ownership',
    'quotas',
    'results',
    'stream',
    'sweeps',
    'uploads',
    'webhooks',
  ].map((name) => `apps/api/test/${name}.spec.ts`),
  browsers: ['test/e2e/dashboard{,-new-job}.spec.ts'],
  installations: ['test/e2e/train.spec.ts', 'test/cli/commands.spec.ts', 'test/docs/*.spec.ts'],
  isolated: ['test/{chaos/checker,mutations/mutations}.spec.ts'],
} as const;

interface Group {
  readonly include: readonly string[];
  readonly exclude?: readonly string[];
  readonly quick?: readonly string[];
  readonly isolate?: boolean;
  readonly globalSetup?: string[];
  /** Seconds for a test; a hook has half as much again. */
  readonly limit: number;
  /** Groups of one order run together, the next order after them. */
  readonly order: 0 | 1;
}

/** Processes per order. On two cores, two of those that compute; more of those that mostly wait. */
const WORKERS = [2, 4] as const;

function project(name: string, group: Group): TestProjectInlineConfiguration {
  const { include, exclude = [], quick = include, isolate = false, limit, order } = group;
  return {
    test: {
      name,
      environment: 'node',
      // The native addon does not live in worker threads.
      pool: 'forks',
      isolate,
      teardownTimeout: 10_000,
      setupFiles: ['./tools/test-log.mjs'],
      ...(group.globalSetup ? { globalSetup: group.globalSetup } : {}),
      // Node itself loads our built code.
      server: { deps: { external: [/\/(apps|libs)\/[^/]+\/dist\//] } },
      include: [...(tier === 'quick' ? quick : include)],
      exclude: ['**/node_modules/**', ...exclude, ...notInTier],
      testTimeout: limit * 1000,
      hookTimeout: limit * 1500,
      maxWorkers: WORKERS[order],
      sequence: { groupOrder: order },
    },
  };
}

export default defineConfig({
  test: {
    passWithNoTests: false,
    maxConcurrency: 2,
    globalSetup: './tools/test-run/global-setup.mjs',
    reporters: ['default', './tools/log-reporter.mjs', './tools/count-reporter.mjs'],
    sequence: { sequencer: SpecOrder },
    projects: [
      project('unit', {
        include: [
          'libs/*/src/**/*.spec.{ts,tsx}',
          'apps/*/src/**/*.spec.{ts,tsx}',
          'tools/**/*.spec.mjs',
        ],
        limit: 60,
        order: 0,
      }),
      project('numbers', {
        include: ['test/{data,golden,llama-cpp,pack}/**/*.spec.ts'],
        quick: QUICK.numbers,
        limit: 120,
        order: 0,
      }),
      project('isolated', {
        include: ISOLATED,
        quick: QUICK.isolated,
        isolate: true,
        limit: 120,
        order: 1,
      }),
      project('servers', {
        include: ['apps/*/test/**/*.spec.{ts,tsx}'],
        exclude: ISOLATED,
        quick: QUICK.servers,
        limit: 120,
        order: 1,
      }),
      project('browsers', {
        include: BROWSERS,
        quick: QUICK.browsers,
        globalSetup: ['./test/e2e/browser-server.ts'],
        limit: 120,
        order: 1,
      }),
      project('installations', {
        include: ['test/{cli,docs,e2e}/**/*.spec.ts'],
        exclude: [...ISOLATED, ...BROWSERS],
        quick: QUICK.installations,
        limit: 120,
        order: 1,
      }),
    ],
  },
});
