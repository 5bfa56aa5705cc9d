import { type Command } from 'commander';
import { expect, it } from 'vitest';
import { program } from '../program.js';
import { EXAMPLES, examplesOf } from './examples.js';

const LONGEST = 60;

/** Commands without inner commands, by their name after `graft`. */
function leaves(command: Command, path: readonly string[] = []): [string, Command][] {
  return command.commands.flatMap((inner): [string, Command][] => {
    const name = [...path, inner.name()];
    return inner.commands.length > 0 ? leaves(inner, name) : [[name.join(' '), inner]];
  });
}

const isInternal = (name: string): boolean => name === 'complete';

/** Words of an example, without quotes. */
const words = (example: string): string[] =>
  [...example.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '');

/** Parses an example and returns the command that would run. */
function reached(example: string): string | null {
  const graft = program();
  let found: string | null = null;
  for (const [name, command] of leaves(graft)) command.action(() => void (found = name));
  graft.configureOutput({ writeErr: () => undefined });
  graft.parse(words(example).slice(1), { from: 'user' });
  return found;
}

it('every command has one to three examples, and only commands have', () => {
  const names = leaves(program()).flatMap(([name]) => (isInternal(name) ? [] : [name]));
  expect(Object.keys(EXAMPLES).sort()).toEqual(names.sort());
  for (const [name, examples] of Object.entries(EXAMPLES))
    expect([1, 2, 3], name).toContain(examples.length);
});

it.each(Object.entries(EXAMPLES))('the examples of graft %s parse', (name, examples) => {
  for (const example of examples) expect(reached(example), example).toBe(name);
});

it('shows the examples in --help, in a group those of its commands', () => {
  const jobs = program().commands.find((one) => one.name() === 'jobs')!;
  let help = '';
  jobs.configureOutput({ writeOut: (text) => (help += text) }).outputHelp();
  expect(help).toContain('\nExamples:\n  $ graft jobs\n  $ graft jobs my-job\n');
  expect(examplesOf('webhooks')).toEqual([
    'graft webhooks',
    'graft webhooks deliveries slack',
    'graft webhooks create slack https://example.com/hook',
  ]);
});

it(`describes each command in at most ${LONGEST} characters`, () => {
  const check = (command: Command): void => {
    for (const inner of command.commands) {
      if (isInternal(inner.name())) continue;
      const text = inner.description();
      expect(text.length, `${inner.name()}: ${text}`).toBeGreaterThan(0);
      if (command.parent === null) expect(text.length, text).toBeLessThanOrEqual(LONGEST);
      check(inner);
    }
  };
  check(program());
});
