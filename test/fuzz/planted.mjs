// Faulty parsers, for the fuzzer's own test.
import { DomainError } from '@graft/contracts';
import { json } from './mutate.mjs';

const make = json([{ a: 1, b: ['c'] }]);
const kept = [];

export const targets = [
  {
    name: 'throws something else',
    make,
    run: () => null.field,
  },
  {
    name: 'takes long',
    share: 0.1,
    seconds: 0.1,
    make,
    run: () => {
      const start = process.cpuUsage();
      const taken = ({ user, system }) => user + system;
      while (taken(process.cpuUsage(start)) < 150_000);
      throw new DomainError('invalid_value', 'late');
    },
  },
  {
    name: 'takes memory',
    share: 0.1,
    memory: 10 * 2 ** 20,
    make,
    run: () => kept.push(Buffer.alloc(20 * 2 ** 20, 1)),
  },
  {
    name: 'inherits',
    make,
    run: () => Object.create({ polluted: 1 }),
  },
  {
    name: 'changes a prototype',
    make,
    run: () => {
      Object.prototype.polluted = 1;
    },
  },
];
