import type { Command } from 'commander';
import { Api } from '../client/api.js';
import { credentialsOf } from '../config/credentials.js';
import { readSettings, SETTINGS, type SettingKey, type Settings } from '../config/settings.js';
import { terminal, type Output } from '../output/terminal.js';

/** What every command works with. */
export interface Call {
  readonly settings: Settings;
  readonly out: Output;
  /** Throws a CliError when no address or key is known. */
  api(): Api;
}

/** Global flags, wherever they stand on the command line. */
export function callOf(command: Command): Call {
  const flags = command.optsWithGlobals<Record<string, unknown>>();
  const given: Partial<Record<SettingKey, string>> = {};
  for (const { key } of SETTINGS) {
    const value = flags[key.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase())];
    if (typeof value === 'string') given[key] = value;
  }
  const settings = readSettings(given);
  return {
    settings,
    out: terminal(flags.json === true),
    api: () => new Api(credentialsOf(settings)),
  };
}
