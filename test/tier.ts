/**
 * Test tier of this run: `quick`, `default` (`npm test`) or `all` (`npm run test:all`), set by tools/run-tests.mjs.
 * Files named `*.all.spec.ts` run in `all` only. A spec with a matrix reads `isAllTier` to choose between the whole
 * matrix and a selection that covers every row and column.
 */
export type Tier = 'quick' | 'default' | 'all';

export const tier = (process.env['GRAFT_TEST_TIER'] ?? 'default') as Tier;
export const isAllTier = tier === 'all';
