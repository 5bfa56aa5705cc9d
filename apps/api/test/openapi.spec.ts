// The OpenAPI document: valid, complete, and matching the responses (checked-answers.ts checks those of all
// specs).
import { Validator } from '@seriousme/openapi-schema-validator';
import Ajv from 'ajv/dist/2020.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { problemOf, unknownQuery } from './checked-answers.js';
import { startTestApi, type TestApi } from './fixture.js';

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: unknown;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly items?: Schema;
}
/** Returns whether a schema becomes a class of its own: an object with fields, or a map. */
const isObject = (one?: Schema): boolean =>
  one?.properties !== undefined || one?.additionalProperties !== undefined;

interface Operation {
  readonly security?: readonly object[];
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
  readonly servers: readonly object[];
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: {
    readonly schemas: Readonly<Record<string, Schema>>;
    readonly securitySchemes: object;
  };
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

  it('has a server, and states for every operation whether it needs a key', () => {
    expect(document.servers).toEqual([expect.objectContaining({ url: '/' })]);
    const schemes = Object.keys(document.components.securitySchemes);
    const isPublic = operations().filter(([name, { security }]) => {
      expect(security, name).toBeDefined();
      for (const one of security!) expect(schemes, name).toEqual(Object.keys(one));
      return security!.length === 0;
    });
    expect(isPublic.map(([name]) => name)).toEqual(['get /healthz', 'get /readyz']);
  });

  it('uses only names and structures that openapi-python-client can generate', () => {
    const { schemas } = document.components;
    // Names that generated clients define themselves.
    const reserved =
      /^(Any|AuthenticatedClient|Client|File|HTTPStatus|Request|Response|Unset|UnexpectedStatus)$/;
    expect(Object.keys(schemas).filter((name) => reserved.test(name))).toEqual([]);
    // The generator makes the classes of an object inside the member of a union twice, and leaves both out.
    const nested = Object.entries(schemas).flatMap(([name, { anyOf = [], oneOf = [] }]) =>
      [...anyOf, ...oneOf].flatMap(({ properties = {} }) =>
        Object.entries(properties)
          .filter(([, one]) => isObject(one) || isObject(one.items))
          .map(([key]) => `${name}: give ${key} an id`),
      ),
    );
    expect(nested).toEqual([]);
    const types = operations().flatMap(([name, { requestBody, responses }]) => [
      // Of a body with two types, the generator makes code that does not run.
      ...(Object.keys(requestBody?.content ?? {}).length > 1 ? [`${name}: one body`] : []),
      ...Object.values(responses)
        .flatMap(({ content = {} }) => Object.keys(content))
        .filter((type) => !/^(application\/(json|octet-stream)|text\/[\w-]+)$/.test(type))
        .map((type) => `${name}: ${type}`),
    ]);
    expect(types).toEqual([]);
  });

  it('has no "const" in a union, in whose place generated clients would accept nothing else', () => {
    const { batch_size: size } = document.components.schemas['JobHyperparameters']!.properties!;
    expect(size?.anyOf).toEqual([{ type: 'number' }, { type: 'string', enum: ['auto'] }]);
  });

  it('lists the keys of a record over an enum as properties', () => {
    const { result_counts: counts } =
      document.components.schemas['EvalRunObject']?.properties ?? {};
    expect(Object.keys(counts?.properties ?? {})).toEqual(['total', 'passed', 'failed', 'errored']);
    expect(JSON.stringify(document)).not.toMatch(/"propertyNames":\{"type":"string","enum"/);
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
