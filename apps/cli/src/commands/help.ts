import type { Catalog } from '@graft/contracts';
import type { Command } from 'commander';
import { CliError, EXIT } from '../cli-error.js';
import { callOf } from '../command-line/command-line.js';
import { CATALOG_TOPICS, HELP_TOPICS, topicText, type Topic } from '../command-line/help-topics.js';

const TOPICS = [...Object.keys(HELP_TOPICS), ...Object.keys(CATALOG_TOPICS)];

export function addHelp(program: Command): void {
  program
    .helpCommand(false)
    .command('help')
    .description('Explain a command or a topic')
    .argument('[topic...]', `command or topic; topics: ${TOPICS.join(', ')}`)
    .action(async (words: string[], _options: unknown, command: Command) => {
      const [name = ''] = words;
      const topic = words.length === 1 ? await topicOf(name, command) : null;
      if (topic === null) return commandOf(program, words).outputHelp();
      const width = Math.min(process.stdout.columns ?? 80, 100);
      process.stdout.write(topicText(name, topic, width));
    });
}

async function topicOf(name: string, command: Command): Promise<Topic | null> {
  const own = Object.hasOwn(HELP_TOPICS, name) ? HELP_TOPICS[name] : undefined;
  if (own) return own;
  const ofCatalog = Object.hasOwn(CATALOG_TOPICS, name) ? CATALOG_TOPICS[name] : undefined;
  return ofCatalog ? ofCatalog(await callOf(command).api().get<Catalog>('/catalog')) : null;
}

function commandOf(program: Command, words: readonly string[]): Command {
  return words.reduce((command, word) => {
    const inner = command.commands.find(
      (one) => one.name() === word || one.aliases().includes(word),
    );
    if (inner) return inner;
    const typed = words.join(' ');
    throw new CliError(
      `no command or topic named ${typed}; topics: ${TOPICS.join(', ')}`,
      EXIT.usage,
    );
  }, program);
}
