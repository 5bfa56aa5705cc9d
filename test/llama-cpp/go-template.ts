// Go's text/template, the language of Ollama's templates: a Python wheel with it as a library (2 MB), downloaded to
// .cache. Specs that need it are skipped with a message if the download fails.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const VERSION = '0.0.3';
const FOLDER = join(import.meta.dirname, `../../.cache/go-template-${VERSION}`);

/** Whether the library is present or can be downloaded. */
export function hasGo(tests: string): boolean {
  if (existsSync(FOLDER)) return true;
  const scratch = `${FOLDER}.tmp-${process.pid}`;
  const flags = ['--no-deps', '--quiet', '--disable-pip-version-check', '--target', scratch];
  const { status, stderr, error } = spawnSync(
    'python3',
    ['-m', 'pip', 'install', ...flags, `go-template==${VERSION}`],
    { encoding: 'utf8', timeout: 60_000 },
  );
  if (status === 0 && process.platform === 'linux' && process.arch === 'x64') {
    renameSync(scratch, FOLDER);
    return true;
  }
  rmSync(scratch, { recursive: true, force: true });
  const why = error?.message ?? stderr.trim().split('\n').at(-1);
  console.warn(`skipped: ${tests}, because Go's templates cannot be fetched: ${why}`);
  return false;
}

export interface Turn {
  readonly role: string;
  readonly content: string;
}

/** Returns a prompt as Ollama renders it from a Modelfile's TEMPLATE. */
export function ollamaPrompt(template: string, messages: readonly Turn[]): string {
  const dir = mkdtempSync(join(tmpdir(), 'graft-go-'));
  try {
    const values = {
      System: messages.find(({ role }) => role === 'system')?.content ?? '',
      Messages: messages.map(({ role, content }) => ({ Role: role, Content: content })),
    };
    const [source, given, out] = ['template', 'values.yml', 'out'].map((name) =>
      join(dir, name),
    ) as [string, string, string];
    writeFileSync(source, template);
    writeFileSync(given, JSON.stringify(values));
    const program = 'import sys, go_template; go_template.render_template(*sys.argv[1:])';
    const { status, stderr } = spawnSync('python3', ['-c', program, source, given, out], {
      env: { ...process.env, PYTHONPATH: FOLDER },
      encoding: 'utf8',
    });
    if (status !== 0) throw new Error(stderr);
    return readFileSync(out, 'utf8');
  } finally {
    rmSync(dir, { recursive: true });
  }
}
