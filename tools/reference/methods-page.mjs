// docs/reference/methods.md, from the catalog.
import { anchor, cell, code, fields, page, table, typeOf } from './markdown.mjs';

/** Options that at least five methods describe in the same words, by name. */
function sharedOptions(methods) {
  const seen = new Map();
  for (const { schema } of methods)
    for (const [name, field] of Object.entries(schema.properties)) {
      const key = JSON.stringify([name, typeOf(field), field.description]);
      seen.set(key, [...(seen.get(key) ?? []), [name, field]]);
    }
  const shared = new Map();
  for (const uses of [...seen.values()].filter((all) => all.length >= 5)) {
    const [name, field] = uses[0];
    const isSame = uses.every(([, one]) => one.default === field.default);
    if (!shared.has(name)) shared.set(name, isSame ? field : { ...field, default: undefined });
  }
  return shared;
}

export function methodsPage({ methods }) {
  const shared = sharedOptions(methods);
  const isShared = ([name, field]) => shared.get(name)?.description === field.description;
  const own = ({ properties, required }) => ({
    required,
    properties: Object.fromEntries(Object.entries(properties).filter((one) => !isShared(one))),
  });
  const common = ({ properties }) =>
    Object.entries(properties)
      .filter(isShared)
      .map(([name, { default: value }]) =>
        value === undefined || value === null
          ? code(name)
          : `${code(name)} (${code(JSON.stringify(value))})`,
      );
  return page(
    'Methods',
    'PEFT methods of a job\'s `peft` field, and full fine-tuning (`"peft": null`). Options have PEFT\'s names and defaults unless stated. A job that sets `"peft": {"peft_type": …}` gets the defaults below.',
    table(
      ['method', 'summary', 'default learning rate'],
      methods.map((one) => [
        `[${one.title}](#${anchor(one.title)})`,
        cell(one.summary),
        one.default_learning_rate ?? '',
      ]),
    ),
    '## Shared options',
    'Each method below lists which of these it has, with its default if it is not null.',
    fields({ properties: Object.fromEntries(shared) }),
    ...methods.map((one) =>
      [
        `## ${one.title}`,
        `\`"peft_type": "${one.peft_type}"\`${one.paper ? ` · [paper](${one.paper})` : ''}`,
        fields(own(one.schema)),
        common(one.schema).length > 0 ? `Shared options: ${common(one.schema).join(', ')}.` : '',
      ]
        .filter(Boolean)
        .join('\n\n'),
    ),
  );
}
