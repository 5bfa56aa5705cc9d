// Checks each JSON response and stream event of an API under test against the OpenAPI document: route, query, status
// and every field. Undocumented ones are collected and fail the test that closes the API (fixture.ts).
import Ajv from 'ajv/dist/2020.js';
import express from 'express';
import type { Request, Response } from 'express';

type Json = Record<string, unknown>;
interface Operation {
  readonly responses: Record<string, Json>;
  readonly parameters?: readonly { readonly name: string; readonly in: string }[];
}
interface Document {
  readonly paths: Record<string, Record<string, Operation>>;
  readonly components: Json;
}

const EVENTS = 'text/event-stream';
const wrong = new Map<string, string>();
let document: Document | null = null;
let ajv: Ajv.default | null = null;

/** Starts checking responses against the OpenAPI document, which a process fetches once because all its APIs share it. */
export async function checkAnswers(url: string): Promise<void> {
  // Each spec file checks its own first events, even if several files share a process.
  looked.clear();
  if (document) return;
  const response = await fetch(`${url}/docs-json`);
  // the API serves no document
  if (!response.ok) return;
  document = closed(await response.json()) as Document;
  ajv = new Ajv.default({ strict: false, allErrors: false });
  ajv.addSchema({ $id: 'openapi', components: document.components });
  const { json, write, end } = express.response;
  express.response.json = function checked(this: Response, body: unknown) {
    check(this.req, this.statusCode, body);
    return json.call(this, body);
  };
  express.response.write = function checked(this: Response, ...of: unknown[]) {
    written(this, of[0]);
    return (write as (...of: unknown[]) => boolean).apply(this, of);
  };
  express.response.end = function checked(this: Response, ...of: unknown[]) {
    const earlier = pieces.get(this);
    if (earlier && typeof of[0] === 'string')
      check(this.req, this.statusCode, JSON.parse(earlier + of[0]));
    pieces.delete(this);
    return (end as (...of: unknown[]) => Response).apply(this, of);
  };
}

/** JSON responses that are written in chunks, up to a size limit; null for longer ones. */
const pieces = new WeakMap<Response, string | null>();
const MOST_CHARACTERS = 64 * 1024;

/** Adds a chunk of a response. A stream event is always one whole chunk. */
function written(response: Response, chunk: unknown): void {
  const type = String(response.getHeader('content-type'));
  // files are sent as bytes
  if (type.startsWith('application/json') && typeof chunk === 'string') {
    const earlier = pieces.get(response);
    const whole = earlier === null ? null : (earlier ?? '') + chunk;
    pieces.set(response, (whole ?? '').length > MOST_CHARACTERS ? null : whole);
  }
  if (!type.startsWith(EVENTS) || !isNews(response.req)) return;
  for (const [, data = ''] of String(chunk).matchAll(/^data: ([{].*)$/gm)) {
    const event = JSON.parse(data) as Json;
    // an error in the middle of a stream
    if (!('error' in event)) check(response.req, response.statusCode, event, EVENTS);
  }
}

/** Number of events to check per route, because streams may have thousands. */
const MOST_EVENTS = 100;
const looked = new Map<string, number>();
function isNews({ path }: Request): boolean {
  const route = path.replaceAll(/ftjob-[^/]+/g, '');
  looked.set(route, (looked.get(route) ?? 0) + 1);
  return (looked.get(route) ?? 0) <= MOST_EVENTS;
}

/** Returns the problems found since the last call. */
export function undocumented(): string[] {
  const found = [...wrong.values()];
  wrong.clear();
  return found;
}

function check(request: Request, status: number, body: unknown, type?: string): void {
  const route = (request as { route?: { path?: string } }).route?.path;
  // without a route, the response is an error from middleware
  const path = route?.replaceAll(/[:*](\w+)/g, '{$1}') ?? null;
  const what = `${request.method} ${path ?? request.path} ${status}`;
  const problem = problemOf(request.method, path, status, body, type);
  if (problem !== null) wrong.set(what, `${what}: ${problem}`);
  if (status >= 400 || path === null) return;
  for (const name of unknownQuery(request.method, path, request.originalUrl))
    wrong.set(`${what} ${name}`, `${what}: the query's ${name} is not documented`);
}

/** Returns the query fields that the document does not have: `a[b]` and `a[]` count as `a`. */
export function unknownQuery(method: string, path: string, url: string): string[] {
  const { parameters = [] } = document?.paths[path]?.[method.toLowerCase()] ?? {};
  const bare = (name: string): string => name.split('[')[0] ?? '';
  const known = parameters.filter((one) => one.in === 'query').map(({ name }) => bare(name));
  const given = [...new URL(url, 'http://api').searchParams.keys()].map(bare);
  return given.filter((name) => !known.includes(name));
}

/** Returns how a response differs from the document; null if it matches. */
export function problemOf(
  method: string,
  path: string | null,
  status: number,
  body: unknown,
  type = 'application/json',
): string | null {
  const operation = path === null ? undefined : document?.paths[path]?.[method.toLowerCase()];
  if (path !== null && !operation) return 'no such operation';
  const own = operation?.responses[status];
  if (!own && status < 400) return 'no such status';
  const content = own?.['content'] as Record<string, { schema: Json }> | undefined;
  const schema = own ? content?.[type]?.schema : ERROR;
  if (!schema) return 'no JSON';
  // as sent: without undefined fields
  const travels: unknown = JSON.parse(JSON.stringify(body));
  return ajv!.validate(absolute(schema), travels) ? null : ajv!.errorsText();
}

/**
 * Rejects unlisted fields in schemas that list fields. Clients may accept more, but the document must list everything
 * that the server sends.
 */
function closed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(closed);
  if (typeof value !== 'object' || value === null) return value;
  const one = Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, closed(inner)]));
  return typeof one['properties'] === 'object' &&
    one['type'] === 'object' &&
    !('additionalProperties' in one)
    ? { ...one, additionalProperties: false }
    : one;
}

const ERROR = { $ref: '#/components/schemas/Error' };

/** Cache with one object per schema, by which Ajv recognizes compiled schemas. */
const absolutes = new WeakMap<Json, Json>();
function absolute(schema: Json): Json {
  const known = absolutes.get(schema);
  if (known) return known;
  const text = JSON.stringify(schema).replaceAll('"#/components/', '"openapi#/components/');
  const made = JSON.parse(text) as Json;
  absolutes.set(schema, made);
  return made;
}
