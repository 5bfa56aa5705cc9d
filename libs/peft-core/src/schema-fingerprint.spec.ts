// Detects, as far as a program can, whether SCHEMA_VERSION must be raised. See CONTRIBUTING.md, "The schema version".
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import {
  COMBINATION_TYPES,
  MODEL_OPERATIONS,
  MODEL_REQUESTS,
  runEvents,
  SCHEMA_VERSION,
  Spec,
} from '@graft/contracts';
import { expect, it } from 'vitest';
import { z } from 'zod';
import { methods } from './methods/registry.js';
import { models } from './models/registry.js';
import { quantizers } from './quant/registry.js';
import { tasks } from './tasks/registry.js';

/** Fingerprints of each schema version since 0.1.0. The last one belongs to this build. */
const FINGERPRINTS: Readonly<Record<number, Readonly<Record<string, string>>>> = {
  1: {
    events: 'e1977e9d071d627c',
    methods: '967d70e9f0b40156',
    models: '0a3557ea96205f49',
    operations: 'a1eabc1e9b5d5b37',
    protocol: '2b835f67619f37e5',
    quantizers: 'dbdb31d49f4b125e',
    requests: 'cc80f15680e66fe4',
    spec: '95ae5c3856743c9e',
    tasks: '8b5dba297dd7cd06',
  },
};

const PROTO = new URL('../../contracts/proto/graft/worker/v1/worker.proto', import.meta.url);

/** JSON schema without descriptions. */
const shape = (schema: z.ZodType): unknown =>
  z.toJSONSchema(schema, {
    unrepresentable: 'any',
    override: ({ jsonSchema }) => {
      delete jsonSchema.description;
      delete jsonSchema.title;
    },
  });

const options = (plugins: readonly { readonly name: string; readonly options: z.ZodType }[]) =>
  plugins
    .map((one) => ({ name: one.name, options: shape(one.options) }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));

const PARTS = {
  methods: options(methods),
  tasks: options(tasks),
  models: models.flatMap(({ modelTypes }) => modelTypes).sort(),
  quantizers: quantizers.map(({ name }) => name).sort(),
  operations: [...MODEL_OPERATIONS, ...COMBINATION_TYPES].sort(),
  spec: shape(Spec),
  requests: Object.entries(MODEL_REQUESTS).map(([kind, { request, answer }]) => [
    kind,
    shape(request),
    shape(answer),
  ]),
  events: runEvents.map(({ kind, payload }) => [kind, shape(payload)]),
  protocol: readFileSync(PROTO, 'utf8').replaceAll(/\s*\/\/.*/g, ''),
};

const hash = (part: unknown): string =>
  createHash('sha256').update(JSON.stringify(part)).digest('hex').slice(0, 16);

it('has the stored fingerprint of its version', () => {
  expect(
    Object.fromEntries(Object.entries(PARTS).map(([name, part]) => [name, hash(part)])),
    'what API processes and workers exchange has changed: raise SCHEMA_VERSION, or confirm that older workers need not know of it by updating this fingerprint',
  ).toEqual(FINGERPRINTS[SCHEMA_VERSION]);
});
