import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { credentialsOf } from './credentials.js';
import { graftFor, readSettings } from './settings.js';

let home: string;
beforeEach(() => (home = mkdtempSync(join(tmpdir(), 'graft-settings-'))));
afterEach(() => rmSync(home, { recursive: true }));

describe('readSettings', () => {
  it('prefers flags to the environment, and the environment to the file', () => {
    writeFileSync(
      join(home, 'graft.json'),
      '{"port": 1, "queue_url": "redis://file", "url": "http://file/v1"}',
    );
    const env = { GRAFT_HOME: home, GRAFT_PORT: '2', GRAFT_QUEUE_URL: 'redis://env' };
    const settings = readSettings({ port: '3' }, env);
    expect([
      settings.get('port'),
      settings.get('queue-url'),
      settings.get('url'),
      settings.get('slots'),
    ]).toEqual(['3', 'redis://env', 'http://file/v1', undefined]);
    expect(settings.home).toBe(home);
  });

  it('ignores an empty variable', () => {
    writeFileSync(join(home, 'graft.json'), '{"port": 1}');
    expect(readSettings({ home }, { GRAFT_PORT: '' }).get('port')).toBe('1');
  });

  it('rejects an unknown name, a wrong type and invalid JSON, naming the file', () => {
    const file = join(home, 'graft.json');
    for (const [text, message] of [
      ['{"prot": 1}', 'unknown setting "prot"'],
      ['{"home": "/x"}', 'unknown setting "home"'],
      ['{"port": true}', '"port" must be a string or a number'],
      ['[1]', 'expected a JSON object'],
      ['{"port"', 'is not valid JSON'],
    ] as const) {
      writeFileSync(file, text);
      expect(() => readSettings({ home }, {})).toThrow(message);
      expect(() => readSettings({ home }, {})).toThrow(file);
    }
  });
});

describe('graftFor', () => {
  it('sets GRAFT_HOME if a plain `graft` would not find the home folder', () => {
    expect(graftFor(readSettings({}, {}).home)).toBe('graft');
    expect(graftFor('/srv/graft')).toBe('GRAFT_HOME=/srv/graft graft');
  });
});

describe('credentialsOf', () => {
  it('reads missing values from credentials.json, and adds a missing /v1', () => {
    writeFileSync(join(home, 'credentials.json'), '{"url": "http://kept/v1", "api_key": "k1"}');
    expect(credentialsOf(readSettings({ home }, {}))).toEqual({
      url: 'http://kept/v1',
      apiKey: 'k1',
    });
    expect(credentialsOf(readSettings({ home }, { GRAFT_URL: 'http://other:1/' }))).toEqual({
      url: 'http://other:1/v1',
      apiKey: 'k1',
    });
  });

  it('explains how to get credentials if there are none', () => {
    expect(() => credentialsOf(readSettings({ home }, {}))).toThrow('graft up');
  });
});
