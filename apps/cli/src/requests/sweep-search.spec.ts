import { CreateSweep } from '@graft/contracts';
import { expect, it } from 'vitest';
import { searchOf } from './sweep-search.js';

const parametersOf = (...vary: string[]): unknown => searchOf({}, { vary })['parameters'];

it('creates a search that the contract accepts', () => {
  const vary = ['peft.r=8,16', 'graft.learning_rate=1e-5..1e-3:log'];
  const flags = { vary, trials: 9, rungs: '10,30', reductionFactor: 2, searchSeed: '7' };
  const search = searchOf({}, flags);
  expect(CreateSweep.parse({ model: 'm', training_file: 'f', search }).search).toEqual({
    algorithm: 'asha',
    parameters: { 'peft.r': [8, 16], 'graft.learning_rate': { min: 1e-5, max: 1e-3, log: true } },
    max_trials: 9,
    rungs: [10, 30],
    reduction_factor: 2,
    seed: 7,
  });
});

it('parses numbers, words, lists and ranges', () => {
  expect(parametersOf('a=x,y', 'b=true,null', 'c=[[1],[2]]', 'd=1..9:log:integer', 'e=-1..1')).toEqual({
    a: ['x', 'y'],
    b: [true, null],
    c: [[1], [2]],
    d: { min: 1, max: 9, log: true, integer: true },
    e: { min: -1, max: 1 },
  }); // prettier-ignore
  expect(parametersOf('a={"min":1,"max":2}', 'b=one..two')).toEqual({
    a: { min: 1, max: 2 },
    b: ['one..two'],
  });
});

it('overrides the file with flags, and reports what is missing', () => {
  const body = { search: { algorithm: 'grid', parameters: { seed: [1] } } };
  expect(searchOf(body, { vary: ['peft.r=4'] })).toEqual({
    algorithm: 'grid',
    parameters: { seed: [1], 'peft.r': [4] },
  });
  expect(searchOf({}, { methods: true })).toEqual({ algorithm: 'asha', preset: 'methods' });
  expect(() => searchOf({}, {})).toThrow('nothing to search');
  expect(() => searchOf({}, { vary: ['peft.r='] })).toThrow('expected path=values');
  expect(() => searchOf({}, { methods: true, rungs: '10,x' })).toThrow('got "x"');
});
