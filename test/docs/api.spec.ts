// Checks that docs/api.md agrees with the registries.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { catalog } from '@graft/peft-core/catalog';
import { expect, it } from 'vitest';

const PAGE = readFileSync(join(import.meta.dirname, '../../docs/api.md'), 'utf8');

it('names as absent only model types that no family has', () => {
  const [, absent = ''] = /Not among them are ([^|]+)\|/.exec(PAGE) ?? [];
  const named = [...absent.matchAll(/`([^`]+)`/g)].map(([, type]) => type);
  expect(named).toContain('hubert');
  const known = new Set(catalog().families.flatMap(({ model_types: types }) => types));
  expect(named.filter((type) => known.has(type ?? ''))).toEqual([]);
});
