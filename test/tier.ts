/**
 * The test tier that is running: `quick`, `default` (`npm test`) or `all` (`npm run test:all`). tools/run-tests.mjs sets
 * it. Files named `*.all.spec.ts` belong to `all` alone; a spec whose cases are a matrix reads `isAllTier` to decide
 * between the whole matrix and a selection that covers every row and column.
 */
export type Tier = 'quick' | 'default' | 'all';

export const tier = (process.env['GRAFT_TEST_TIER'] ?? 'default') as Tier;
export const isAllTier = tier === 'all';
