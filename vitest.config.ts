import { defineConfig } from 'vitest/config';

// Four groups, one after the other: specs beside the code may share the machine, and so may an application's own in
// its test/, which mostly wait for servers, and those in test/ that compute on one thread or wait for browsers, commands
// and faults (three at a time on two cores); the mutations get it to themselves. Specs beside the code, and those on
// installations, share a process and its modules (loading the API takes 2.4 s of CPU), so that what one changes outside
// itself it also puts back.
// itself it also puts back.
// Forks, because the native addon does not live in worker threads.
const shared = {
  environment: 'node',
  pool: 'forks',
  teardownTimeout: 10_000,
  setupFiles: ['./tools/test-log.mjs'],
  // our own built code is loaded by Node itself
  server: { deps: { external: [/\/(apps|libs)\/[^/]+\/dist\//] } },
} as const;

const ALONE = ['test/mutations/**/*.spec.ts'];
const BROWSERS = ['test/e2e/{dashboard*,while-it-trains}.spec.ts'];
// but for the one that adds to a registry of the product, which an API of the same process may have read before
const INSTALLATIONS = ['test/{cli,docs}/**/*.spec.ts', 'test/e2e/!(one-more-number).spec.ts'];

export default defineConfig({
  test: {
    passWithNoTests: false,
    maxConcurrency: 2,
    globalSetup: './tools/test-run/global-setup.mjs',
    reporters: ['default', './tools/log-reporter.mjs', './tools/count-reporter.mjs'],
    projects: [
      {
        test: {
          ...shared,
          name: 'unit',
          include: [
            'libs/*/src/**/*.spec.{ts,tsx}',
            'apps/*/src/**/*.spec.{ts,tsx}',
            'tools/**/*.spec.mjs',
          ],
          testTimeout: 30_000,
          hookTimeout: 60_000,
          maxWorkers: 2,
          isolate: false,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          ...shared,
          name: 'servers',
          include: ['apps/*/test/**/*.spec.{ts,tsx}'],
          testTimeout: 120_000,
          hookTimeout: 180_000,
          maxWorkers: 3,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          ...shared,
          name: 'browsers',
          include: BROWSERS,
          globalSetup: ['./test/e2e/browser-server.ts'],
          testTimeout: 120_000,
          hookTimeout: 180_000,
          maxWorkers: 3,
          isolate: false,
          sequence: { groupOrder: 2 },
        },
      },
      {
        test: {
          ...shared,
          name: 'installations',
          include: INSTALLATIONS,
          exclude: BROWSERS,
          testTimeout: 120_000,
          hookTimeout: 180_000,
          maxWorkers: 3,
          isolate: false,
          sequence: { groupOrder: 2 },
        },
      },
      {
        test: {
          ...shared,
          name: 'whole',
          include: ['test/**/*.spec.{ts,tsx}'],
          exclude: [...ALONE, ...INSTALLATIONS],
          testTimeout: 120_000,
          hookTimeout: 180_000,
          maxWorkers: 3,
          sequence: { groupOrder: 2 },
        },
      },
      {
        test: {
          ...shared,
          name: 'alone',
          include: ALONE,
          testTimeout: 120_000,
          hookTimeout: 180_000,
          maxWorkers: 1,
          sequence: { groupOrder: 3 },
        },
      },
    ],
  },
});
