import type { OwnKeyObject } from '@graft/contracts';
import type { Command } from 'commander';
import { CliError, EXIT } from '../cli-error.js';
import { Api } from '../client/api.js';
import { callOf } from '../command-line/command-line.js';
import { apiUrl, readCredentials } from '../config/credentials.js';
import type { Credentials } from '../config/server-access.js';
import { loginFile, readLogin, removeLogin, writeLogin } from '../config/login.js';
import type { Settings } from '../config/settings.js';
import { answered, canAsk, prompts } from '../output/prompts.js';
import { printable, type Output } from '../output/terminal.js';

const DEFAULT_URL = 'http://127.0.0.1:8080';

export function addLogin(program: Command): void {
  program
    .command('login')
    .description('Sign in to a Graft server with an API key')
    .argument('[url]', 'address of the server (asked for on a terminal)')
    .action(async (typed: string | undefined, _options: unknown, command: Command) => {
      const { out, settings } = callOf(command);
      const url = apiUrl(typed ?? settings.get('url') ?? (await askUrl(settings)));
      const credentials = { url, apiKey: settings.get('api-key') ?? (await askKey(url)) };
      const key = await new Api(credentials).get<OwnKeyObject>('/keys/me');
      writeLogin(settings.home, credentials);
      report(out, settings, credentials, key);
    });
  program
    .command('logout')
    .description('Forget the server and key of graft login')
    .action((_options: unknown, command: Command) => {
      const { out, settings } = callOf(command);
      const login = readLogin(settings.home);
      removeLogin(settings.home);
      const local = readCredentials(settings.home);
      if (out.json) return out.value({ url: login?.url ?? null });
      out.line(login ? `Signed out of ${login.url}. The key is still valid.` : 'Not signed in.');
      if (local) out.note(`Commands use ${local.url} again.`);
    });
}

function report(
  out: Output,
  { home }: Settings,
  { url }: Credentials,
  { id, name, project }: OwnKeyObject,
): void {
  if (out.json) return out.value({ url, key: { id, name }, project });
  out.line(`Signed in to ${url} with key ${printable(name)}, project ${printable(project.name)}.`);
  out.note(`The key is stored in ${loginFile(home)}, which only you can read.`);
  const { protocol, hostname } = new URL(url);
  if (protocol === 'http:' && !/^(localhost|127\.|\[::1\])/.test(hostname))
    out.note('warning: the connection is not encrypted; prefer an https:// address');
}

async function askUrl(settings: Settings): Promise<string> {
  const known = readLogin(settings.home)?.url ?? readCredentials(settings.home)?.url ?? DEFAULT_URL;
  if (!canAsk()) throw new CliError('specify the address: graft login URL', EXIT.usage);
  const { text } = await prompts();
  return answered(text({ message: 'Address of the server', initialValue: known }));
}

/** Asks for the key without showing it. Without a terminal, reads it from stdin. */
async function askKey(url: string): Promise<string> {
  if (canAsk()) {
    const { password } = await prompts();
    const validate = (value: string | undefined): string | undefined =>
      value?.trim() ? undefined : 'Enter an API key. graft keys create makes one.';
    return (await answered(password({ message: `API key for ${url}`, validate }))).trim();
  }
  let text = '';
  if (process.stdin.isTTY !== true)
    for await (const chunk of process.stdin) text += (chunk as Buffer).toString();
  if (text.trim() === '')
    throw new CliError('no API key: enter it on a terminal, or write it to stdin', EXIT.usage);
  return text.trim();
}
