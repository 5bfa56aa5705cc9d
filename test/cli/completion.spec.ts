import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ValueCache } from '../../apps/cli/src/completion/cache.js';
import { cleanEnv, CLI, graft } from './graft.js';

// `graft completion` in real shells, and `graft help`, without an API.

let home: string;
beforeAll(() => (home = mkdtempSync(join(tmpdir(), 'graft-cli-'))));
afterAll(() => rmSync(home, { recursive: true, force: true }));

const isInstalled = (shell: string): boolean => spawnSync(shell, ['-c', 'true']).status === 0;

describe('graft completion', () => {
  it('completes commands, options and choices in bash', async () => {
    const { out: script } = await graft(home, ['completion', 'bash']);
    writeFileSync(join(home, 'script'), script);
    // Sets the variables that readline sets, calls the completion function, and prints its result.
    const complete = (...words: string[]): string[] => {
      const typed = words.map((word) => `'${word}'`).join(' ');
      const lines = [
        `graft() { '${process.execPath}' '${CLI}' "$@"; }`,
        'compopt() { :; }',
        // Replaces a function of the package bash-completion, which may be missing.
        '_get_comp_words_by_ref() { words=("${COMP_WORDS[@]}"); cword=$COMP_CWORD; cur=${words[cword]}; }',
        `source '${join(home, 'script')}'`,
        `COMP_WORDS=(graft ${typed}); COMP_CWORD=${words.length}; COMP_TYPE=9`,
        `COMP_LINE="\${COMP_WORDS[*]}"; COMP_POINT=\${#COMP_LINE}`,
        `$(complete -p graft | sed -E 's/.*-F ([^ ]+) .*/\\1/')`,
        `printf '%s\\n' "\${COMPREPLY[@]}"`,
      ];
      const env = cleanEnv({ GRAFT_HOME: home });
      const output = execFileSync('bash', ['-c', lines.join('\n')], { encoding: 'utf8', env });
      return output
        .split('\n')
        .map((line) => line.trim())
        .filter((line) => line !== '');
    };
    expect(complete('wat')).toEqual(['watch']);
    expect(complete('webhooks', 'rot')).toEqual(['rotate-secret']);
    expect(complete('jobs', '--st')).toEqual(['--state']);
    expect(complete('jobs', '--state', 'su')).toEqual(['succeeded']);
    // Values that the API would name, from the cache. Bash replaces only what follows the last colon.
    writeFileSync(join(home, 'graft.json'), '{"url": "http://127.0.0.1:9", "api_key": "k"}');
    for (const [kind, values] of [
      ['models', [['ft:tiny:default:one', '']]],
      ['jobs', []],
    ] as const)
      new ValueCache(home).write(['http://127.0.0.1:9/v1', 'k', kind, ''], values);
    expect(complete('chat', 'ft:tiny:d')).toEqual(['default:one']);
    // What was typed is not evaluated.
    expect(complete('chat', `$(touch ${join(home, 'evaluated')})`)).toEqual([]);
    expect(existsSync(join(home, 'evaluated'))).toBe(false);
  });

  const TYPED = [
    ['wat', 'watch'],
    ['webhooks rot', 'webhooks rotate-secret'],
    ['jobs --st', 'jobs --state'],
    ['jobs --state su', 'jobs --state succeeded'],
  ] as const;
  /** Writes the completion script to a file, and adds `graft` to PATH. */
  async function installed(shell: string): Promise<{ script: string; env: NodeJS.ProcessEnv }> {
    const script = join(home, `script.${shell}`);
    writeFileSync(script, (await graft(home, ['completion', shell])).out);
    const program = `#!/bin/sh\nexec '${process.execPath}' '${CLI}' "$@"\n`;
    mkdirSync(join(home, 'bin'), { recursive: true });
    writeFileSync(join(home, 'bin', 'graft'), program, { mode: 0o755 });
    const path = `${join(home, 'bin')}:${process.env['PATH']}`;
    return { script, env: cleanEnv({ GRAFT_HOME: home, PATH: path, TERM: 'dumb', HOME: home }) };
  }

  it.skipIf(!isInstalled('fish'))('completes commands, options and choices in fish', async () => {
    const { script, env } = await installed('fish');
    for (const [typed, whole] of TYPED) {
      const code = `source '${script}'; complete -C 'graft ${typed}'`;
      const output = execFileSync('fish', ['--no-config', '-c', code], { encoding: 'utf8', env });
      const words = output.trim().split('\n').map((line) => line.split('\t')[0]); // prettier-ignore
      expect([typed, words]).toEqual([typed, [whole.split(' ').at(-1)]]);
    }
  });

  it.skipIf(!isInstalled('zsh'))(
    'completes commands, options and choices in zsh on a terminal',
    async () => {
      const { script, env } = await installed('zsh');
      for (const [typed, whole] of TYPED) {
        // Starts zsh in a pseudo-terminal and presses Tab.
        const code = [
          'zmodload zsh/zpty',
          'zpty inner zsh -f -i',
          `zpty -w inner "PS1=; autoload -U compinit; compinit -D -u; source '${script}'; print READ''Y"`,
          `zpty -r inner out '*READY*'`,
          `zpty -w -n inner 'graft ${typed}'$'\\t'`,
          `repeat 200 { zpty -r -t inner out && output+=$out; [[ $output == *'graft ${whole}'* ]] && break; sleep 0.1 }`,
          'print -r -- "$output"; zpty -d inner',
        ].join('\n');
        const output = execFileSync('zsh', ['-f', '-c', code], { encoding: 'utf8', env });
        expect(output).toContain(`graft ${whole}`);
      }
    },
  );

  it.each(['bash', 'zsh', 'fish'])('writes a script that %s can read', async (shell) => {
    const { code, out } = await graft(home, ['completion', shell]);
    expect(code).toBe(0);
    expect(out).toContain('graft');
    if (!isInstalled(shell))
      return console.warn(`${shell} is not installed; its script was not tested`);
    writeFileSync(join(home, shell), out);
    expect(spawnSync(shell, ['-n', join(home, shell)]).status).toBe(0);
  });

  it('rejects unknown shells', async () => {
    const { code, err } = await graft(home, ['completion', 'csh']);
    expect(code).toBe(2);
    expect(err).toContain('Allowed choices are');
  });
});

describe('graft help', () => {
  it('explains topics and commands, and lists the topics', async () => {
    const { out } = await graft(home, ['help', 'settings']);
    expect(out).toMatch(/--url +GRAFT_URL +address of the API/);
    expect((await graft(home, ['help', 'webhooks', 'test'])).out).toContain(
      'Usage: graft webhooks test',
    );
    const unknown = await graft(home, ['help', 'nonsense']);
    expect([unknown.code, unknown.err]).toEqual([
      2,
      expect.stringContaining('topics: getting-started, data, jobs'),
    ]);
  });

  it('starts with a short page, whose commands are named as the user can type them', async () => {
    const { code, out } = await graft(home, []);
    expect(code).toBe(0);
    expect(out.split('\n').length).toBeLessThan(12);
    expect(out).toMatch(/^ {2}graft submit +train a model/m);
    const npx = { npm_lifecycle_event: 'npx', npm_lifecycle_script: "'graft'" };
    expect((await graft(home, [], '', npx)).out).toMatch(/^ {2}npx graft submit +train a model/m);
    expect((await graft(home, ['jobs'], '', npx)).err).toContain('`npx graft up`');
    expect((await graft(home, ['help', 'getting-started'])).out).toContain('graft submit');
  });
});
