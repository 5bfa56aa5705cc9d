import type { Argument, Command, Option } from 'commander';
import type { Completion } from './completion.js';
import type { Kind } from './values.js';

export interface Completions {
  readonly values: readonly Completion[];
  /** Whether names of local files fit, too. */
  readonly files: boolean;
}

/** Returns the names of objects of a kind. `typed` is the word so far. */
export type Values = (kind: Kind, typed: string) => Promise<readonly Completion[]>;

/** Kinds of arguments and options by their name in the help. */
const KINDS: Readonly<Record<string, readonly Kind[]>> = {
  job: ['jobs'],
  'job@step': ['checkpoints'],
  'job-or-model': ['jobs', 'models'],
  model: ['models', 'jobs'],
  models: ['models', 'jobs'],
  'job-or-file': ['jobs'],
  'other-job-or-file': ['jobs'],
  'job-or-sweep': ['jobs', 'sweeps'],
  sweep: ['sweeps'],
  batch: ['batches'],
  eval: ['evals'],
  pool: ['pools'],
  project: ['projects'],
  worker: ['workers'],
  endpoint: ['webhooks'],
  member: ['members'],
  method: ['methods'],
  peft_type: ['methods'],
  task: ['tasks'],
  base: ['models'],
  topic: ['topics'],
};

/** Names that stand for another thing in some commands, by command. */
const IN_COMMAND: Readonly<Record<string, Readonly<Record<string, readonly Kind[]>>>> = {
  open: { name: ['jobs', 'sweeps', 'models', 'files'] },
  compare: { job: ['jobs', 'sweeps'] },
  show: { file: ['files'] },
  get: { file: ['files'] },
  delete: { file: ['files'] },
  revise: { file: ['files'] },
  revisions: { file: ['files'] },
};

/** Options by their flag. Other options go by the name of their value. */
const FLAGS: Readonly<Record<string, readonly Kind[]>> = {
  '--train': ['files'],
  '--valid': ['files'],
  '--task': ['tasks'],
  '--pool': ['pools'],
  '--items': ['files'],
};

/** Values that are paths of local files. */
const IS_PATH = /^(body|file|path|source|folder|job\.json|arguments)$/;

/** Completions of the last word of a command line, without the program's name. */
export async function complete(
  program: Command,
  words: readonly string[],
  valuesOf: Values,
): Promise<Completions> {
  const typed = words.at(-1) ?? '';
  const { command: named, position, pending } = parsed(program, words.slice(0, -1));
  const command = defaultOf(named) ?? named;
  const [, flag = '', start = ''] = /^(--[\w-]+)=(.*)$/s.exec(typed) ?? [];
  const assigned = flag === '' ? undefined : optionCalled(command, flag);
  const option = pending ?? assigned;
  if (option) {
    const found = await ofValue(option, { command, typed: pending ? typed : start, valuesOf });
    return pending
      ? found
      : { ...found, values: found.values.map(([value, about]) => [`${flag}=${value}`, about]) };
  }
  if (typed.startsWith('-')) return { values: optionsOf(command, typed), files: false };
  const inner = position === 0 ? commandsOf(named, typed) : [];
  const all = command.registeredArguments;
  const argument = all[position] ?? (all.at(-1)?.variadic ? all.at(-1) : undefined);
  if (!argument) return { values: inner, files: false };
  const found = await ofValue(argument, { command, typed, valuesOf });
  return { ...found, values: [...inner, ...found.values] };
}

interface Parsed {
  readonly command: Command;
  /** Number of arguments before the last word. */
  readonly position: number;
  /** Option whose value is the last word. */
  readonly pending: Option | undefined;
}

function parsed(program: Command, words: readonly string[]): Parsed {
  let command = program;
  let position = 0;
  let pending: Option | undefined;
  for (const word of words) {
    if (pending) pending = undefined;
    else if (word.startsWith('-')) {
      const owner = defaultOf(command) ?? command;
      const option = word.includes('=') ? undefined : optionCalled(owner, word);
      pending = option && (option.required || option.optional) ? option : undefined;
    } else {
      const inner = position === 0 ? innerCommand(command, word) : undefined;
      if (inner) command = inner;
      else {
        command = defaultOf(command) ?? command;
        position += 1;
      }
    }
  }
  return { command, position, pending };
}

/** The subcommand that a group runs if none is named, such as `show` of `receipt`. Commander keeps its name to itself. */
function defaultOf(command: Command): Command | undefined {
  const { _defaultCommandName: name } = command as { readonly _defaultCommandName?: string | null };
  return command.commands.find((one) => one.name() === name);
}

const innerCommand = (command: Command, name: string): Command | undefined =>
  command.commands.find((one) => one.name() === name || one.aliases().includes(name));

const optionCalled = (command: Command, flag: string): Option | undefined =>
  command.options.find(({ long, short }) => long === flag || short === flag);

const commandsOf = (command: Command, typed: string): Completion[] =>
  command
    .createHelp()
    .visibleCommands(command)
    .map((one): Completion => [one.name(), one.description()])
    .filter(([name]) => name.startsWith(typed));

const optionsOf = (command: Command, typed: string): Completion[] =>
  command
    .createHelp()
    .visibleOptions(command)
    .flatMap(({ long, short, description }): Completion[] =>
      typed.startsWith('--') || !short
        ? [[long ?? '', description]]
        : [
            [long ?? '', description],
            [short, description],
          ],
    )
    .filter(([flag]) => flag !== '' && flag.startsWith(typed));

interface Context {
  readonly command: Command;
  readonly typed: string;
  readonly valuesOf: Values;
}

/** Completions of an argument or of an option's value. */
async function ofValue(
  one: Argument | Option,
  { command, typed, valuesOf }: Context,
): Promise<Completions> {
  const fits = ([value]: Completion): boolean => value.startsWith(typed);
  if (one.argChoices)
    return { values: one.argChoices.map((choice): Completion => [choice, '']).filter(fits), files: false }; // prettier-ignore
  const isFlag = 'flags' in one;
  const name = isFlag ? (/[<[]([^.\]>]+)/.exec(one.flags)?.[1] ?? '') : one.name();
  const kinds =
    (isFlag ? FLAGS[one.long ?? ''] : IN_COMMAND[command.name()]?.[name]) ?? KINDS[name] ?? [];
  const values = (await Promise.all(kinds.map((kind) => valuesOf(kind, typed)))).flat();
  const files = (isFlag && kinds.includes('files')) || name.endsWith('or-file');
  return {
    values: values.filter(fits),
    files: files || (kinds.length === 0 && IS_PATH.test(name)),
  };
}
