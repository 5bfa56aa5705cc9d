// docs/reference/api.md, from the OpenAPI document.
import { cell, code, page, table, typeOf } from './markdown.mjs';

/** @returns the OpenAPI document */
export async function apiDocument() {
  const { NestFactory } = await import('@nestjs/core');
  const { AppModule } = await import('../../apps/api/dist/app.module.js');
  const { openApiDocument } = await import('../../apps/api/dist/http/openapi.js');
  // Nest's preview mode reads the routes without creating any service.
  const opened = { settings: {}, source: {}, workers: {}, queue: {} };
  const app = await NestFactory.create(AppModule.with(opened), { preview: true, logger: false });
  return openApiDocument(app, '');
}

export function apiPage({ paths }) {
  const groups = new Map();
  for (const [path, operations] of Object.entries(paths))
    for (const [method, operation] of Object.entries(operations)) {
      const group = operation.tags?.[0] ?? 'other';
      if (!groups.has(group)) groups.set(group, []);
      groups.get(group).push([path, method, operation]);
    }
  const bodyOf = ({ requestBody }) => {
    const [type, media] = Object.entries(requestBody?.content ?? {})[0] ?? [];
    return type === undefined
      ? ''
      : type === 'application/json'
        ? cell(typeOf(media.schema))
        : type;
  };
  const queryOf = ({ parameters = [] }) =>
    parameters
      .filter((one) => one.in === 'query')
      .map(({ name }) => code(name))
      .join(', ');
  return page(
    'API',
    'Endpoints of the REST API. Requests need `Authorization: Bearer KEY`. Bodies and responses are described in full by the OpenAPI document that a running API serves: `/docs` to read, `/docs-json` for programs. Errors have OpenAI\'s format: `{"error": {"message", "type", "param", "code"}}`.',
    ...[...groups].map(([group, rows]) =>
      [
        `## ${group[0].toUpperCase()}${group.slice(1)}`,
        table(
          ['endpoint', 'what it does', 'query', 'body'],
          rows.map(([path, method, operation]) => [
            code(`${method.toUpperCase()} ${path}`),
            cell(
              operation.summary ??
                operation.responses?.[200]?.description ??
                operation.responses?.[201]?.description ??
                '',
            ),
            queryOf(operation),
            bodyOf(operation),
          ]),
        ),
      ].join('\n\n'),
    ),
  );
}
