// docs/reference/cli.md, from commander.
import { cell, code, page, table } from './markdown.mjs';

export async function cliPage() {
  const { program } = await import('../../apps/cli/dist/program.js');
  const { EXAMPLES } = await import('../../apps/cli/dist/command-line/examples.js');
  const graft = program();
  const visible = (command) =>
    command.commands.filter(
      (one) => !one._hidden && !['help', 'complete', 'completion'].includes(one.name()),
    );
  const usage = (path, command) =>
    [
      path,
      ...command.registeredArguments.map((one) =>
        one.required ? `<${one.name()}>` : `[${one.name()}]`,
      ),
    ].join(' ');
  const options = (command) =>
    command.options.filter(
      ({ hidden, long }) => !hidden && !['--json', '--version'].includes(long),
    );
  const leaves = (command, path) =>
    visible(command).flatMap((one) => {
      const name = `${path} ${one.name()}`;
      const inner = leaves(one, name);
      return inner.length > 0 && options(one).length === 0 ? inner : [[name, one], ...inner];
    });
  const sections = new Map();
  for (const command of visible(graft)) {
    const group = command._helpGroupHeading?.replace(':', '') ?? 'Other';
    if (!sections.has(group)) sections.set(group, []);
    const name = `graft ${command.name()}`;
    const inner = leaves(command, name);
    sections
      .get(group)
      .push(
        ...(inner.length > 0 && options(command).length === 0
          ? inner
          : [[name, command], ...inner]),
      );
  }
  return page(
    'Command line',
    'Commands of `graft`. `npx graft` works only inside the clone; the [quickstart](../quickstart.md#use-graft-in-another-folder) shows how to use it elsewhere. Every command accepts `--json`, `--url`, `--api-key` and `--home`.',
    ...[...sections].map(([group, commands]) =>
      [
        `## ${group}`,
        ...commands.map(([path, command]) =>
          [
            `### ${path}`,
            `${command.description()}.`
              .replace('..', '.')
              .replace(/^./, (first) => first.toUpperCase()),
            '```\n' +
              usage(path, command) +
              (options(command).length > 0 ? ' [options]' : '') +
              '\n```',
            table(
              ['option', 'meaning'],
              options(command).map((one) => [code(one.flags), cell(one.description)]),
            ),
            exampleBlock(EXAMPLES[path.replace(/^graft /, '')] ?? []),
          ]
            .filter(Boolean)
            .join('\n\n'),
        ),
      ].join('\n\n'),
    ),
  );
}

const exampleBlock = (examples) =>
  examples.length === 0 ? '' : `\`\`\`sh\n${examples.join('\n')}\n\`\`\``;
