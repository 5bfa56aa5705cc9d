import type { SweepSearch } from '@graft/contracts';
import { sweepValuesOf, valueOf } from '@graft/contracts/sweep-values';
import { CliError, EXIT } from '../cli-error.js';
import { collect } from './job-body.js';
import { positiveInteger } from '../command-line/parse-number.js';
import type { Body } from './read-body.js';
import { Option, type Command } from 'commander';

/** Flags that describe the search of a sweep. */
export interface SearchFlags {
  readonly vary?: readonly string[];
  readonly methods?: boolean;
  readonly algorithm?: string;
  readonly trials?: number;
  readonly metric?: string;
  readonly rungs?: string;
  readonly reductionFactor?: number;
  readonly searchSeed?: string;
}

const ALGORITHMS: readonly SweepSearch['algorithm'][] = ['grid', 'random', 'asha'];

export const withSearchFlags = (command: Command): Command =>
  command
    .option(
      '--vary <path=values>',
      'field with its values (peft.r=8,16,64) or range (graft.learning_rate=5e-5..2e-3:log) (repeatable)',
      collect,
    )
    .option('--methods', 'try several methods with their defaults')
    .addOption(
      new Option(
        '--algorithm <name>',
        'search algorithm; asha samples combinations and stops weak trials early (default: asha)',
      ).choices(ALGORITHMS),
    )
    .option('--trials <number>', 'maximum number of trials', positiveInteger)
    .addOption(
      new Option('--metric <name>', 'metric to compare trials by (default: valid_loss)').choices([
        'valid_loss',
        'eval_score',
      ]),
    )
    .option('--rungs <steps>', 'steps at which asha compares trials: 20,60')
    .option(
      '--reduction-factor <number>',
      'asha continues one trial in N after a rung (default: 3)',
      positiveInteger,
    )
    .option('--search-seed <number>', 'random seed of the search (default: 42)');

/** The body's `search` with its fields overridden by the flags. */
export function searchOf(body: Body, flags: SearchFlags): Body {
  const given = (body['search'] ?? {}) as Body;
  const search: Body = { ...given };
  const set = (field: string, value: unknown): void => {
    if (value !== undefined) search[field] = value;
  };
  set('algorithm', flags.algorithm);
  search['algorithm'] ??= 'asha';
  if (flags.methods === true) search['preset'] = 'methods';
  set('max_trials', flags.trials);
  set('metric', flags.metric);
  set('rungs', flags.rungs === undefined ? undefined : flags.rungs.split(',').map(step));
  set('reduction_factor', flags.reductionFactor);
  set('seed', flags.searchSeed === undefined ? undefined : valueOf(flags.searchSeed));
  if (flags.vary !== undefined)
    search['parameters'] = {
      ...(given['parameters'] as Body | undefined),
      ...Object.fromEntries(flags.vary.map(varied)),
    };
  if (search['parameters'] === undefined && search['preset'] === undefined)
    throw new CliError(
      'nothing to search: use --methods, --vary peft.r=8,16,64, or "search" in the request file',
      EXIT.usage,
    );
  return search;
}

function varied(one: string): readonly [path: string, values: unknown] {
  const at = one.indexOf('=');
  if (at < 1 || at === one.length - 1)
    throw new CliError(
      `--vary ${one}: expected path=values, e.g. --vary peft.r=8,16,64`,
      EXIT.usage,
    );
  return [one.slice(0, at), sweepValuesOf(one.slice(at + 1))];
}

function step(text: string): number {
  if (/^\d+$/.test(text)) return Number(text);
  throw new CliError(`--rungs: expected steps as in 20,60; got "${text}"`, EXIT.usage);
}
