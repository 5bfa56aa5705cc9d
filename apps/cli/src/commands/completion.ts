import { script } from '@bomb.sh/tab';
import { Argument, type Command } from 'commander';
import { Api } from '../client/api.js';
import { BASH_SCRIPT } from '../completion/bash-script.js';
import { ValueCache } from '../completion/cache.js';
import { complete, type Completions, type Values } from '../completion/complete.js';
import { fetchValues, isFixed } from '../completion/values.js';
import { credentialsOf } from '../config/credentials.js';
import { readSettings } from '../config/settings.js';

const SHELLS = ['bash', 'zsh', 'fish', 'powershell'] as const;

/** Maximum time that Tab waits for the server. */
const LIMIT_MS = 2000;
const FRESH_SECONDS = 3;
const FIXED_SECONDS = 3600;

/** Directive of the scripts: complete no names of files. */
const NO_FILES = 4;

const INSTALL = `
Install:
  bash  echo 'source <(graft completion bash)' >> ~/.bashrc
  zsh   graft completion zsh > "\${fpath[1]}/_graft"     (after: autoload -U compinit; compinit)
  fish  graft completion fish > ~/.config/fish/completions/graft.fish
Then start a new shell. Tab completes commands, options, and the names of jobs, models, files and others.`;

export function addCompletion(program: Command): void {
  program
    .command('completion')
    .description('Print a script that completes commands and names')
    .addArgument(new Argument('<shell>', 'your shell').choices(SHELLS))
    .addHelpText('after', INSTALL)
    .action((shell: (typeof SHELLS)[number]) => {
      if (shell === 'bash') process.stdout.write(`${BASH_SCRIPT}\n`);
      else script(shell, 'graft', 'graft');
      if (process.stdout.isTTY) process.stderr.write(`${INSTALL}\n`);
    });
  program
    .command('complete', { hidden: true })
    .argument('[words...]')
    .allowUnknownOption()
    .action(async (words: string[]) => {
      const { values, files } = await completions(program, words);
      const lines = values.map(([value, about]) => `${value}\t${about.replaceAll(/\s+/g, ' ')}`);
      process.stdout.write(`${[...lines, `:${files ? 0 : NO_FILES}`].join('\n')}\n`, () =>
        // A request that is still running must not keep the shell waiting.
        process.exit(0),
      );
    });
}

/** Completions within the time limit. Errors and slow servers complete nothing. */
async function completions(program: Command, words: readonly string[]): Promise<Completions> {
  const nothing: Completions = { values: [], files: false };
  const late = new Promise<Completions>((resolve) => setTimeout(resolve, LIMIT_MS, nothing));
  const found = complete(program, words, values()).catch(() => nothing);
  return Promise.race([found, late]);
}

function values(): Values {
  return async (kind, typed) => {
    if (kind === 'topics') return fetchValues(new Api({ url: '', apiKey: '' }), kind, typed);
    try {
      const settings = readSettings({});
      const credentials = credentialsOf(settings);
      const cache = new ValueCache(settings.home);
      const of = kind === 'checkpoints' ? typed.replace(/@\w*$/, '@') : '';
      const key = [credentials.url, credentials.apiKey, kind, of];
      const known = cache.read(key, isFixed(kind) ? FIXED_SECONDS : FRESH_SECONDS);
      if (known) return known;
      const found = await fetchValues(new Api(credentials), kind, typed);
      cache.write(key, found);
      return found;
    } catch {
      return [];
    }
  };
}
