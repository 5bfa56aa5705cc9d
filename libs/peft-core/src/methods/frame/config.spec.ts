import { expect, it } from 'vitest';
import { checkUnwritten } from './config.js';

it.each<[string, string, unknown, unknown, object?]>([
  ['FOURIERFT', 'random_loc_seed', 777, 3],
  ['WAVEFT', 'wavelet_family', 'db1', 'db2'],
  ['UNILORA', 'proj_seed', 42, 3],
  ['VERA', 'projection_prng_key', 0, 3, { save_projection: false }],
  ['TINYLORA', 'projection_seed', 42, 3, { save_projection: false }],
  ['FROD', 'sparse_rate', 0.01, 0.02, { save_projection: false }],
  ['ADAMSS', 'random_seed', 0, 3],
  ['PSOFT', 'ab_svd_init', 'psoft_init', 'pissa_init'],
])('%s continues only from a file with the same %s', (peft_type, field, own, other, more = {}) => {
  const peft = { peft_type, ...more };
  expect(() => checkUnwritten(peft, { ...peft, [field]: own })).not.toThrow();
  expect(() => checkUnwritten(peft, { ...peft, [field]: other })).toThrow(
    expect.objectContaining({ code: 'invalid_value', param: `peft.${field}` }),
  );
});

it('takes options that only the file records from the file', () => {
  const peft = { peft_type: 'VERA' };
  expect(() => checkUnwritten(peft, { ...peft, projection_prng_key: 3 })).not.toThrow();
  expect(() => checkUnwritten({ peft_type: 'LORA', r: 4 }, { peft_type: 'LORA' })).not.toThrow();
});
