import { GraftOptions, type Catalog, type CatalogMethod, type CatalogTask } from '@graft/contracts';
import { expect, it } from 'vitest';
import { z } from 'zod';
import { NO_SWEEP, variedFields } from './sweep-draft.js';

it('offers no option that must be the same in all trials', () => {
  const graft_schema = z.toJSONSchema(GraftOptions, { io: 'input' });
  const method = { schema: {} } as unknown as CatalogMethod;
  const task = { method: 'supervised' } as unknown as CatalogTask;
  const catalog = { graft_schema } as unknown as Catalog;
  const paths = variedFields(catalog, { method, task }, NO_SWEEP).map(({ path }) => path);
  expect(paths).toEqual(expect.arrayContaining(['graft.learning_rate', 'graft.eval_steps']));
  const same = ['task', 'validation_split', 'gradient_checkpointing', 'pool', 'loss_ledger'];
  expect(same.filter((name) => paths.includes(`graft.${name}`))).toEqual([]);
});
