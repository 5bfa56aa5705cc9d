import { availableParallelism } from 'node:os';
import { defineConfig, type TestProjectInlineConfiguration } from 'vitest/config';
import { SpecOrder } from './tools/spec-order.mjs';

// Which files run: docs/internals/testing.md.
const tier = process.env['GRAFT_TEST_TIER'];

// Specs of one project share a few processes with their loaded modules, because loading the API or the core takes 2 to 3 s
// of CPU. So a spec must restore global state that it changes, such as environment variables.
// These need their own process:
const ISOLATED = [
  // Measure the memory growth of their process.
  'apps/api/test/{hostile-files,parquet}.spec.ts',
  'libs/kernels/src/{native,recompute,safetensors}.spec.ts',
  // Watches the queries of the API in its process, which is a different build from that of the other specs.
  'apps/api/test/stream-sharing.spec.ts',
  // Reads the registries, to which other specs in the same process may have added.
  'tools/reference.spec.mjs',
  // Adds to a registry that an API in the same process may have read already.
  'test/e2e/one-more-{answer-option,kind,number}.spec.ts',
  // Failed once in a shared process: a delivery was not sent within 40 s. The cause is unknown.
  'test/cli/webhooks.spec.ts',
  // Kill servers and count processes.
  'test/chaos/**/*.spec.ts',
];
const BROWSERS = ['test/e2e/{dashboard*,while-it-trains}.spec.ts'];

/** Files of the tier `quick` in addition to the unit specs: for each area, a fast one that covers most of it. */
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

/** Slow unit specs whose subject is also covered by others. */
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
  /** Timeout of a test in seconds. Hooks have 1.5 times as much. */
  readonly limit: number;
  /** Order of the group. Groups with the same order run concurrently. */
  readonly order: 0 | 1;
}

/**
 * Number of processes per order. It exceeds the number of cores, because most specs wait part of the time. Each process
 * uses up to 1 GB, so the maximum is 12. All share one PostgreSQL with 100 connections, of which an API opens up to 25:
 * with five processes on two cores, some requests were rejected.
 */
const CORES = availableParallelism();
const WORKERS = [Math.min(CORES + 1, 12), Math.min(2 * CORES, 12)] as const;

/** Patterns that the tier excludes. Files named on the command line run in any tier (tools/run-tests.mjs). */
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
      // The native addon does not support worker threads.
      pool: 'forks',
      isolate,
      teardownTimeout: 10_000,
      setupFiles: ['./tools/test-log.mjs'],
      ...(group.globalSetup ? { globalSetup: group.globalSetup } : {}),
      // Node loads the built code without Vite.
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
