// docs/reference/tasks.md, from the catalog.
import { anchor, cell, code, fields, page, table } from './markdown.mjs';

export function tasksPage({ tasks }) {
  return page(
    'Tasks',
    'Tasks of a job (`graft.task`), the records that they read, and their options (`graft.task_options`). [Training data](../guides/data.md) explains files and columns.',
    table(
      ['task', 'name', 'summary'],
      tasks.map((one) => [
        `[${one.title}](#${anchor(one.title)})`,
        code(one.name),
        cell(one.summary),
      ]),
    ),
    ...tasks.map((one) => {
      const metrics = [...one.metrics.step, ...one.metrics.validation];
      const names = [...new Map(metrics.map(({ name, title }) => [name, title]))];
      return [
        `## ${one.title}`,
        `\`"task": "${one.name}"\` · Transformers: \`${one.auto_model}\` · models: ${one.stacks.join(', ').replaceAll('_', '–')}`,
        'One line of the training file:',
        '```jsonl\n' + one.record_formats.map(({ line }) => line).join('\n') + '\n```',
        fields(one.schema),
        `Metrics: ${names.map(([name, title]) => `${title} (\`${name}\`)`).join(', ')}.`,
      ]
        .filter(Boolean)
        .join('\n\n');
    }),
  );
}
