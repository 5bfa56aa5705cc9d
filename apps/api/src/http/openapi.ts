// The OpenAPI 3.1 document of the routes, and the decorators that declare a route's responses and query.
// Schemas are those of libs/contracts; schemas with an id are components of that name.
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

const schemaRef = (id: string): string => `#/components/schemas/${id}`;

/**
 * Options of the JSON schemas: clients must accept fields that later versions add, and `readonly` applies
 * to TypeScript only.
 */
const OPEN = {
  io: 'output',
  unrepresentable: 'any',
  override: ({ jsonSchema }: { jsonSchema: z.core.JSONSchema.BaseSchema }): void => {
    delete jsonSchema.readOnly;
    if (jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties;
  },
} as const;

/** A reference to a schema with an id; the JSON schema itself otherwise. */
function schemaOf(schema: z.ZodType): Schema {
  const id = z.globalRegistry.get(schema)?.id;
  if (id !== undefined) return { $ref: schemaRef(id) };
  const json = z.toJSONSchema(schema, OPEN);
  delete json.$schema;
  return json;
}

const content = (schema: Schema, type = 'application/json') => ({ [type]: { schema } });

/** Declares the summary of a route and its JSON response. */
export const ApiJsonResponse = (
  schema: z.ZodType,
  summary: string,
  status = 200,
): MethodDecorator =>
  applyDecorators(
    ApiOperation({ summary }),
    ApiResponse({ status, description: summary, content: content(schemaOf(schema)) }),
  );

/** Declares another response with a different status. */
export const ApiAlternativeResponse = (
  status: number,
  schema: z.ZodType,
  description: string,
): MethodDecorator => ApiResponse({ status, description, content: content(schemaOf(schema)) });

/** Declares a paginated list with the parameters `limit` and `after`. */
export const ApiPageResponse = (
  schema: z.ZodType,
  summary: string,
  { limit, most }: { readonly limit: number; readonly most: number },
): MethodDecorator =>
  applyDecorators(
    ApiOperation({ summary }),
    ApiResponse({ status: 200, description: summary, content: content(pageSchema(schema)) }),
    ApiQueryParam('limit', { type: 'integer', minimum: 1, maximum: most, default: limit }),
    ApiQueryParam('after', {
      type: 'string',
      description: 'ID of the last object of the previous page',
    }),
  );

/** Declares a list without pagination. */
export const ApiListResponse = (schema: z.ZodType, summary: string): MethodDecorator =>
  applyDecorators(
    ApiOperation({ summary }),
    ApiResponse({ status: 200, description: summary, content: content(pageSchema(schema)) }),
  );

export const ApiDeletedResponse = (kind: string, summary: string): MethodDecorator =>
  ApiJsonResponse(
    z.object({ id: z.string(), object: z.literal(kind), deleted: z.literal(true) }),
    summary,
  );

/** Declares a response with binary or text content of these types. */
export const ApiFileResponse = (types: readonly string[], summary: string): MethodDecorator =>
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

/** Declares a JSON response that becomes server-sent events with `stream: true`. */
export const ApiJsonOrStreamResponse = (
  whole: z.ZodType,
  chunk: z.ZodType,
  summary: string,
): MethodDecorator =>
  jsonOrEvents(whole, chunk, summary, 'with one chunk each; the last event is [DONE]');

/** Declares a JSON response that becomes typed server-sent events with `stream: true`. */
export const ApiJsonOrEventsResponse = (
  whole: z.ZodType,
  event: z.ZodType,
  summary: string,
): MethodDecorator =>
  jsonOrEvents(whole, event, summary, 'named by `type`; the last one has the whole object');

const jsonOrEvents = (
  whole: z.ZodType,
  event: z.ZodType,
  summary: string,
  how: string,
): MethodDecorator =>
  applyDecorators(
    ApiOperation({ summary }),
    ApiResponse({
      status: 200,
      description: `${summary}. With \`stream: true\`, server-sent events ${how}`,
      content: { ...content(schemaOf(whole)), ...content(schemaOf(event), 'text/event-stream') },
    }),
  );

/** Declares server-sent events. `events` maps the names of the events to the schemas of their data. */
export const ApiEventStream = (
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
    ApiQueryParam('last_event_id', {
      type: 'string',
      description: 'Same as the Last-Event-ID header, for clients that cannot set headers',
    }),
  );

/** Declares an optional query parameter. */
export const ApiQueryParam = (
  name: string,
  { description, ...schema }: Schema & { readonly description?: string },
): MethodDecorator =>
  ApiQuery({
    name,
    required: false,
    schema,
    // `name[gte]=1`, as the routes parse it
    ...(schema['type'] === 'object' ? { style: 'deepObject', explode: true } : {}),
    ...(description === undefined ? {} : { description }),
  });

/** Declares several optional query parameters. */
export const ApiQueryParams = (
  fields: readonly (readonly [name: string, schema: Schema])[],
): MethodDecorator =>
  applyDecorators(...fields.map(([name, schema]) => ApiQueryParam(name, schema)));

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

/**
 * The OpenAPI document of the application's routes. The default response of every operation is an error.
 */
export function openApiDocument(app: INestApplication, version: string): OpenAPIObject {
  const document = SwaggerModule.createDocument(
    app,
    new DocumentBuilder()
      .setOpenAPIVersion('3.1.0')
      .setTitle('Graft')
      .setDescription(
        "Endpoints of OpenAI's API for files, fine-tuning, inference and evals, and Graft's own endpoints.",
      )
      .setVersion(version)
      .setLicense('Apache-2.0', 'https://www.apache.org/licenses/LICENSE-2.0')
      .addServer('/', 'The process that serves this document')
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
      // Public routes. Without this, generators take it for an omission.
      operation.security ??= [];
    }
  return forGenerators(document) as OpenAPIObject;
}

const failure = (description: string): Schema => ({
  description,
  content: content(schemaOf(ErrorObject)),
});

/** Error responses that generated clients distinguish; all others are under `default`. */
function errorsOf({ security, requestBody, parameters }: Operation): Record<string, Schema> {
  const schemaRef = requestBody !== undefined || parameters?.some((one) => one.in === 'path');
  return {
    400: failure('A field is invalid or not supported'),
    ...(security && { 401: failure('The API key is missing or invalid') }),
    ...(schemaRef && { 404: failure('Not found') }),
    429: failure('Too many requests, or a limit is reached; see the Retry-After header'),
  };
}

/** Rewrites what zod emits and generators of clients do not understand. */
function forGenerators(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(forGenerators);
  if (typeof value !== 'object' || value === null) return value;
  const copy = Object.fromEntries(
    Object.entries(value).map(([name, one]) => [name, forGenerators(one)]),
  );
  boundTuple(copy);
  nameKeys(copy);
  if (Array.isArray(copy['anyOf'])) copy['anyOf'] = (copy['anyOf'] as Schema[]).map(literalAsEnum);
  return copy;
}

/** Bounds a tuple by `maxItems` in place of `items: false`: generators expect a schema there. */
function boundTuple(json: Schema): void {
  const parts = json['prefixItems'];
  if (!Array.isArray(parts) || json['items'] !== false) return;
  const kinds = [...new Map(parts.map((one) => [JSON.stringify(one), one as unknown])).values()];
  json['minItems'] ??= parts.length;
  json['maxItems'] ??= parts.length;
  json['items'] = kinds.length === 1 ? kinds[0] : { anyOf: kinds };
}

/** Lists the keys of a record over an enum as properties: generators ignore `propertyNames`. */
function nameKeys(json: Schema): void {
  const { propertyNames, required, additionalProperties: one } = json;
  if (!Array.isArray(required) || !(propertyNames as Schema | undefined)?.['enum']) return;
  json['properties'] = Object.fromEntries(required.map((name) => [name, one]));
  delete json['propertyNames'];
  delete json['additionalProperties'];
}

/** Writes a literal of a union as an enum: openapi-python-client accepts nothing but the `const`. */
const literalAsEnum = ({ const: literal, ...schema }: Schema): Schema =>
  literal === undefined ? schema : { ...schema, enum: [literal] };

interface Operation {
  security?: readonly object[];
  readonly requestBody?: object;
  responses?: Schema;
  parameters?: readonly Parameter[];
}
type Parameter = Schema & { readonly name: string; readonly in: string };

/** Adds path parameters that may contain slashes (`*id`), which Nest omits. */
function withPathParameters(path: string, declared: readonly Parameter[] = []): Parameter[] {
  const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name);
  const missing = names.filter(
    (name) => !declared.some((one) => one.in === 'path' && one.name === name),
  );
  const schema = { type: 'string' };
  return [...declared, ...missing.map((name) => ({ name, in: 'path', required: true, schema }))];
}

/** Operation id of a method: `jobs_create` for `JobsController.create`. */
const operationId = (controller: string, method: string): string => {
  const words = controller.replace(/Controller$/, '').replaceAll(/(?<=.)[A-Z]/g, '_$&');
  return `${words.toLowerCase()}_${method.replaceAll(/[A-Z]/g, '_$&').toLowerCase()}`;
};

/** All schemas with an id. */
function components(): Record<string, Schema> {
  const { schemas } = z.toJSONSchema(z.globalRegistry, { uri: schemaRef, ...OPEN });
  return Object.fromEntries(
    Object.entries(schemas).map(([id, { $schema: _, $id: ___, id: __, ...schema }]) => [
      id,
      schema,
    ]),
  );
}
