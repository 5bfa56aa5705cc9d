// The OpenAPI document: valid, complete, and matching the responses (checked-answers.ts checks those of all
// specs).
import { Validator } from '@seriousme/openapi-schema-validator';
import Ajv from 'ajv/dist/2020.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { problemOf, unknownQuery } from './checked-answers.js';
import { startTestApi, type TestApi } from './fixture.js';

interface Operation {
  readonly operationId: string;
  readonly summary?: string;
  readonly requestBody?: {
    readonly content: Readonly<
      Record<string, { readonly schema: { readonly examples?: readonly unknown[] } }>
    >;
  };
  readonly parameters?: readonly { readonly name: string; readonly in: string }[];
  readonly responses: Readonly<Record<string, { readonly content?: object }>>;
}

let api: TestApi;
let document: {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
};
beforeAll(async () => {
  api = await startTestApi();
  document = (await (await fetch(`${api.url}/docs-json`)).json()) as typeof document;
});
afterAll(() => api?.close());

const operations = (): [string, Operation][] =>
  Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(
      ([method, operation]) => [`${method} ${path}`, operation] as [string, Operation],
    ),
  );

describe('the OpenAPI document', () => {
  it('is a valid OpenAPI 3.1 document', async () => {
    expect(document.openapi).toBe('3.1.0');
    expect(await new Validator().validate(document)).toEqual({ valid: true });
  });

  it('has a summary, a response schema and an error schema for every operation', () => {
    const ids = operations().map(([, { operationId }]) => operationId);
    expect(ids.length).toBeGreaterThan(80);
    expect(new Set(ids).size).toBe(ids.length);
    for (const [name, { summary, responses }] of operations()) {
      expect(summary, name).toMatch(/^[A-Z].*[^.]$/);
      const good = Object.entries(responses).filter(([status]) => status.startsWith('2'));
      // Without a declared response, Nest adds a default one without content.
      expect(good.length, name).toBe(1);
      expect(good[0]?.[1].content, name).toBeTypeOf('object');
      expect(responses['default']?.content, name).toBeTypeOf('object');
    }
  });

  it('works with generators: no "items: false" in tuples, errors by status, no JWT', () => {
    const text = JSON.stringify(document);
    expect(text.includes('"prefixItems"')).toBe(true);
    expect(text.includes('"items":false')).toBe(false);
    expect(text.includes('JWT')).toBe(false);
    const { responses } = document.paths['/v1/fine_tuning/jobs/{id}']?.['get'] as Operation;
    for (const status of ['400', '401', '404', '429'])
      expect(responses[status]?.content, status).toEqual(responses['default']?.content);
  });

  it('declares every path parameter', () => {
    for (const [name, { parameters = [] }] of operations()) {
      const given = parameters.filter((one) => one.in === 'path').map((one) => `{${one.name}}`);
      expect(given.sort(), name).toEqual((name.match(/\{\w+\}/g) ?? []).sort());
    }
  });

  it('declares the pagination of lists', () => {
    const paged = operations()
      .filter(([, { parameters }]) => parameters?.some(({ name }) => name === 'limit'))
      .map(([name]) => name);
    for (const name of ['/v1/fine_tuning/jobs', '/v1/files', '/v1/evals', '/v1/models'])
      expect(paged).toContain(`get ${name}`);
  });

  it('has example bodies that match their schemas', () => {
    const ajv = new Ajv.default({ strict: false });
    const examples = operations().flatMap(([name, { requestBody }]) => {
      const { examples: [example] = [], ...schema } =
        requestBody?.content['application/json']?.schema ?? {};
      return example === undefined ? [] : [[name, schema, example] as const];
    });
    expect(examples.length).toBeGreaterThan(9);
    const wrong = examples.flatMap(([name, schema, example]) =>
      ajv.validate(schema, example) ? [] : [`${name}: ${ajv.errorsText()}`],
    );
    expect(wrong).toEqual([]);
  });

  it('is compared with responses: missing field, additional field, unknown status', () => {
    const file = {
      id: 'file-1',
      object: 'file',
      bytes: 1,
      created_at: 1,
      filename: 'a.jsonl',
      purpose: 'fine-tune',
      status: 'processed',
    };
    const problem = (body: unknown, status = 200): string | null =>
      problemOf('GET', '/v1/files/{id}', status, body);
    expect(problem(file)).toBeNull();
    expect(problem({ ...file, purpose: undefined })).toMatch(/required property 'purpose'/);
    expect(problem({ ...file, colour: 'red' })).toMatch(/must NOT have additional properties/);
    expect(problem(file, 202)).toBe('no such status');
    expect(problem({ message: 'no' }, 404)).toMatch(/required property 'error'/);
    expect(problemOf('GET', '/v1/nowhere', 200, file)).toBe('no such operation');
  });

  it('is compared with query parameters', () => {
    const unknown = (url: string): string[] => unknownQuery('GET', '/v1/files', url);
    expect(unknown('/v1/files?sha256=ab&limit=1&order=asc')).toEqual([]);
    expect(unknown('/v1/files?colour=red&limit=1')).toEqual(['colour']);
    const audit = '/v1/organization/audit_logs';
    const query = 'event_types[]=job.created&effective_at[gte]=1&before=audit_log-1';
    expect(unknownQuery('GET', audit, `${audit}?${query}`)).toEqual([]);
  });
});
