import type { Command } from 'commander';
import { Api } from '../client/api.js';
import { credentialsOf } from '../config/credentials.js';
import { readSettings, SETTINGS, type SettingKey, type Settings } from '../config/settings.js';
import { terminal, type Output } from '../output/terminal.js';

/** Settings, output and API client of a command. */
export interface Call {
  readonly settings: Settings;
  readonly out: Output;
  /** @throws CliError if the address or the key is unknown */
  api(): Api;
}

/** Reads the global flags before and after the command's name. */
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
