// OpenAPI 3.1: the document of the routes, and the decorators by which a route says what it answers and which query it
// takes. Schemas are contracts' own; those with an id stand under components by that name.
import { applyDecorators, type INestApplication } from '@nestjs/common';
import {
  ApiOperation,
  ApiQuery,
  ApiResponse,
  DocumentBuilder,
  SwaggerModule,
  type OpenAPIObject,
} from '@nestjs/swagger';
import { ErrorObject } from '@graft/contracts';
import { z } from 'zod';

type Schema = Record<string, unknown>;

const named = (id: string): string => `#/components/schemas/${id}`;

/** Clients are to take fields that later versions add, and to know nothing of what is read only in TypeScript. */
const OPEN = {
  io: 'output',
  unrepresentable: 'any',
  override: ({ jsonSchema }: { jsonSchema: z.core.JSONSchema.BaseSchema }): void => {
    delete jsonSchema.readOnly;
    if (jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties;
  },
} as const;

/** A named schema by its name, another as it is. */
function schemaOf(schema: z.ZodType): Schema {
  const id = z.globalRegistry.get(schema)?.id;
  if (id !== undefined) return { $ref: named(id) };
  const json = z.toJSONSchema(schema, OPEN);
  delete json.$schema;
  return json;
}

const content = (schema: Schema, type = 'application/json') => ({ [type]: { schema } });

/** A route's one sentence, and the JSON that it answers. */
export const Answers = (schema: z.ZodType, summary: string, status = 200): MethodDecorator =>
  applyDecorators(
    ApiOperation({ summary }),
    ApiResponse({ status, description: summary, content: content(schemaOf(schema)) }),
  );

/** What it answers beside, with another status. */
export const Or = (status: number, schema: z.ZodType, description: string): MethodDecorator =>
  ApiResponse({ status, description, content: content(schemaOf(schema)) });

/** A page of them, by `limit` and `after`. */
export const AnswersPage = (
  schema: z.ZodType,
  summary: string,
  { limit, most }: { readonly limit: number; readonly most: number },
): MethodDecorator =>
  applyDecorators(
    ApiOperation({ summary }),
    ApiResponse({ status: 200, description: summary, content: content(pageSchema(schema)) }),
    Asks('limit', { type: 'integer', minimum: 1, maximum: most, default: limit }),
    Asks('after', { type: 'string', description: 'ID of the last object of the previous page' }),
  );

/** All of them at once. */
export const AnswersList = (schema: z.ZodType, summary: string): MethodDecorator =>
  applyDecorators(
    ApiOperation({ summary }),
    ApiResponse({ status: 200, description: summary, content: content(pageSchema(schema)) }),
  );

export const AnswersDeleted = (kind: string, summary: string): MethodDecorator =>
  Answers(z.object({ id: z.string(), object: z.literal(kind), deleted: z.literal(true) }), summary);

/** Bytes or text of these types. */
export const AnswersFile = (types: readonly string[], summary: string): MethodDecorator =>
  applyDecorators(
    ApiOperation({ summary }),
    ApiResponse({
      status: 200,
      description: summary,
      content: Object.fromEntries(
        types.map((type) => [type, { schema: { type: 'string', format: 'binary' } }]),
      ),
    }),
  );

/** JSON, or with `stream: true` server-sent events of another. */
export const AnswersOrStreams = (
  whole: z.ZodType,
  chunk: z.ZodType,
  summary: string,
): MethodDecorator =>
  applyDecorators(
    ApiOperation({ summary }),
    ApiResponse({
      status: 200,
      description: `${summary}. With \`stream: true\`, server-sent events with one chunk each; the last event is [DONE]`,
      content: { ...content(schemaOf(whole)), ...content(schemaOf(chunk), 'text/event-stream') },
    }),
  );

/** Server-sent events, by what `event:` says. */
export const Streams = (
  events: Readonly<Record<string, z.ZodType>>,
  summary: string,
): MethodDecorator =>
  applyDecorators(
    ApiOperation({
      summary,
      description: `Server-sent events: ${Object.keys(events).join(', ')}. To resume, send the id of the last event as Last-Event-ID.`,
    }),
    ApiResponse({
      status: 200,
      description: 'Data of an event; the schema depends on the type of the event',
      content: content({ anyOf: Object.values(events).map(schemaOf) }, 'text/event-stream'),
    }),
    Asks('last_event_id', {
      type: 'string',
      description: 'Same as the Last-Event-ID header, for clients that cannot set headers',
    }),
  );

/** A field of the query, which nobody has to give. */
export const Asks = (
  name: string,
  { description, ...schema }: Schema & { readonly description?: string },
): MethodDecorator =>
  ApiQuery({
    name,
    required: false,
    schema,
    // `name[gte]=1`, as the routes read them
    ...(schema['type'] === 'object' ? { style: 'deepObject', explode: true } : {}),
    ...(description === undefined ? {} : { description }),
  });

/** Several of them. */
export const AsksAll = (
  fields: readonly (readonly [name: string, schema: Schema])[],
): MethodDecorator => applyDecorators(...fields.map(([name, schema]) => Asks(name, schema)));

const pageSchema = (schema: z.ZodType): Schema => ({
  type: 'object',
  required: ['object', 'data', 'has_more'],
  properties: {
    object: { type: 'string', const: 'list' },
    data: { type: 'array', items: schemaOf(schema) },
    has_more: { type: 'boolean' },
    first_id: { type: ['string', 'null'] },
    last_id: { type: ['string', 'null'] },
  },
});

/** The document of an application's routes. Every operation may answer with the one shape of errors. */
export function openApi(app: INestApplication, version: string): OpenAPIObject {
  const document = SwaggerModule.createDocument(
    app,
    new DocumentBuilder()
      .setOpenAPIVersion('3.1.0')
      .setTitle('Graft')
      .setDescription(
        "Endpoints of OpenAI's API for files, fine-tuning, inference and evals, and Graft's own endpoints.",
      )
      .setVersion(version)
      .addBearerAuth({ type: 'http', bearerFormat: 'API key' })
      .build(),
    { operationIdFactory: (controller, method) => operationId(controller, method) },
  );
  document.components = { ...document.components, schemas: components() as never };
  for (const [path, methods] of Object.entries(document.paths))
    for (const operation of Object.values(methods as Record<string, Operation>)) {
      operation.parameters = withPathParameters(path, operation.parameters);
      operation.responses = {
        ...errorsOf(operation),
        ...operation.responses,
        default: failure('Error'),
      };
    }
  return withBoundTuples(document) as OpenAPIObject;
}

const failure = (description: string): Schema => ({
  description,
  content: content(schemaOf(ErrorObject)),
});

/** What generated clients tell apart; the others come under `default`. */
function errorsOf({ security, requestBody, parameters }: Operation): Record<string, Schema> {
  const named = requestBody !== undefined || parameters?.some((one) => one.in === 'path');
  return {
    400: failure('A field is invalid or not supported'),
    ...(security && { 401: failure('The API key is missing or invalid') }),
    ...(named && { 404: failure('Not found') }),
    429: failure('Too many requests, or a limit is reached; see the Retry-After header'),
  };
}

/** Tuples closed by `maxItems`, where zod writes `items: false`: generators expect a schema there. */
function withBoundTuples(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withBoundTuples);
  if (typeof value !== 'object' || value === null) return value;
  const copy = Object.fromEntries(
    Object.entries(value).map(([name, one]) => [name, withBoundTuples(one)]),
  );
  const parts = copy['prefixItems'];
  if (!Array.isArray(parts) || copy['items'] !== false) return copy;
  const kinds = [...new Map(parts.map((one) => [JSON.stringify(one), one as unknown])).values()];
  const items = kinds.length === 1 ? kinds[0] : { anyOf: kinds };
  return { minItems: parts.length, maxItems: parts.length, ...copy, items };
}

interface Operation {
  readonly security?: readonly object[];
  readonly requestBody?: object;
  responses?: Schema;
  parameters?: readonly Parameter[];
}
type Parameter = Schema & { readonly name: string; readonly in: string };

/** Nest leaves out those that may have slashes (`*id`). */
function withPathParameters(path: string, given: readonly Parameter[] = []): Parameter[] {
  const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name);
  const missing = names.filter(
    (name) => !given.some((one) => one.in === 'path' && one.name === name),
  );
  const schema = { type: 'string' };
  return [...given, ...missing.map((name) => ({ name, in: 'path', required: true, schema }))];
}

/** `JobsController.create` is `jobs_create`. */
const operationId = (controller: string, method: string): string => {
  const words = controller.replace(/Controller$/, '').replaceAll(/(?<=.)[A-Z]/g, '_$&');
  return `${words.toLowerCase()}_${method.replaceAll(/[A-Z]/g, '_$&').toLowerCase()}`;
};

/** All that have an id. */
function components(): Record<string, Schema> {
  const { schemas } = z.toJSONSchema(z.globalRegistry, { uri: named, ...OPEN });
  return Object.fromEntries(
    Object.entries(schemas).map(([id, { $schema: _, $id: ___, id: __, ...schema }]) => [
      id,
      schema,
    ]),
  );
}
