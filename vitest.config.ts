import { availableParallelism } from 'node:os';
import { defineConfig, type TestProjectInlineConfiguration } from 'vitest/config';
import { SpecOrder } from './tools/spec-order.mjs';

// Which files run: docs/internals/testing.md.
const tier = process.env['GRAFT_TEST_TIER'];

// Specs of one project share a few processes and the modules that these have loaded, because loading the API or the core
// takes 2 to 3 s of CPU. So a spec has to put back what it changes outside itself, such as variables of the environment.
// These need a process of their own:
const ISOLATED = [
  // measure by how much the memory of their process grows
  'apps/api/test/{hostile-files,parquet}.spec.ts',
  'libs/kernels/src/{native,recompute,safetensors}.spec.ts',
  // watches the queries of the API in its process, which is another build than the other specs have
  'apps/api/test/stream-sharing.spec.ts',
  // adds to a registry of the product, which an API in the same process may have read before
  'test/e2e/one-more-{answer-option,kind,number}.spec.ts',
  // failed once in a shared process: a delivery was not sent within 40 s, and the cause is not known
  'test/cli/webhooks.spec.ts',
  // kills servers and counts processes
  'test/chaos/**/*.spec.ts',
];
const BROWSERS = ['test/e2e/{dashboard*,while-it-trains}.spec.ts'];

/** The files of the tier `quick` beside the unit specs: for each area, one that goes through most of it in a short time. */
const QUICK = {
  numbers: ['test/golden/{golden,covering,generation}.spec.ts'],
  servers: [
    'access',
    'adapter-upload',
    'answers',
    'eval-claims',
    'gateway',
    'inference',
    'isolation',
    'keys',
    'models',
    'openai',
    'openapi',
    'results',
    'uploads',
  ].map((name) => `apps/api/test/${name}.spec.ts`),
  browsers: ['test/e2e/dashboard-new-job.spec.ts'],
  installations: [
    'test/e2e/heads.spec.ts',
    'test/mutations/mutations.spec.ts',
    'test/cli/{operations,parts}.spec.ts',
    'test/docs/{architecture,readme}.spec.ts',
  ],
  isolated: [
    'test/e2e/one-more-number.spec.ts',
    'test/chaos/{checker,kinds}.spec.ts',
    'libs/kernels/src/{native,recompute}.spec.ts',
  ],
} as const;

/** Unit specs that take longest, and whose subject the others go through as well. */
const NOT_QUICK = [
  'libs/kernels/src/{cuda-emulated,memory,safetensors}.spec.ts',
  'libs/kernels/src/ops/{attention,bf16-products,ggml-matrix,single-attention}.spec.ts',
  'apps/worker/src/agent/{hostile-trainer,ownership,worker}.spec.ts',
  'tools/{count-reporter,setup/services,test-run/run}.spec.mjs',
];

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

/**
 * Processes per order: more than cores, because most specs wait part of the time. Each takes up to 1 GB, and all share
 * one PostgreSQL, so no more than 12.
 */
const CORES = availableParallelism();
const WORKERS = [Math.min(CORES + 1, 12), Math.min(2 * CORES + 1, 12)] as const;

/** A command line that names files gets them from any tier (tools/run-tests.mjs). */
const notInTier = [
  ...(tier === 'quick' || tier === 'default' ? ['**/*.all.spec.ts'] : []),
  ...(tier === 'quick' ? NOT_QUICK : []),
];

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
      server: { deps: { external: [/\/(apps|libs)\/[^/]+\/(dist|bundle)\//] } },
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
        exclude: ISOLATED,
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
        globalSetup: ['./test/e2e/browser-server.ts'],
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
        include: [
          'test/{bench,cli,docs,e2e,fuzz,mutations,parity,run,trainer,upgrade}/**/*.spec.ts',
        ],
        exclude: [...ISOLATED, ...BROWSERS],
        quick: QUICK.installations,
        limit: 120,
        order: 1,
      }),
    ],
  },
});
