import { defineConfig } from 'vitest/config';

// Two groups, one after the other: specs beside the code may share the machine, those in test/ start
// servers and trainers, measure and kill, and get it to themselves. Forks, because the native addon
// does not live in worker threads.
const shared = {
  environment: 'node',
  pool: 'forks',
  teardownTimeout: 10_000,
  setupFiles: ['./tools/test-log.mjs'],
} as const;

export default defineConfig({
  test: {
    passWithNoTests: false,
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
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          ...shared,
          name: 'whole',
          include: ['test/**/*.spec.{ts,tsx}'],
          testTimeout: 120_000,
          hookTimeout: 180_000,
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
