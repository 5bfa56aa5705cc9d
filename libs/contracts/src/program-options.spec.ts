import { expect, it } from 'vitest';
import { optionsHelp, parserOptions, sourceOf } from './program-options.js';

const OPTIONS = [
  { flag: 'port', value: 'N', env: 'GRAFT_PORT', default: '8080', text: 'port to listen on' },
  { flag: 'no-docs', value: null, env: 'GRAFT_DOCS=0', default: null, text: 'serve no /docs' },
  {
    flag: 'project-requests-per-minute',
    value: 'N',
    env: null,
    default: '4 times that of a key',
    text: 'limit for all keys of a project together, which count their requests at all processes',
  },
] as const;

it('describes each option with its variable and default, at most 100 columns wide', () => {
  const help = optionsHelp(OPTIONS);
  expect(help).toBe(
    [
      '  --port N             port to listen on (GRAFT_PORT, default 8080)',
      '  --no-docs            serve no /docs (GRAFT_DOCS=0)',
      '  --project-requests-per-minute N',
      '                       limit for all keys of a project together, which count their requests at all',
      '                       processes (default: 4 times that of a key)',
    ].join('\n'),
  );
});

it('describes switches and values to parseArgs', () => {
  expect(parserOptions(OPTIONS)).toEqual({
    port: { type: 'string' },
    'no-docs': { type: 'boolean' },
    'project-requests-per-minute': { type: 'string' },
  });
});

it('finds the variable and the default of an option', () => {
  expect(sourceOf(OPTIONS, 'port')).toEqual({ variable: 'GRAFT_PORT', fallback: '8080' });
  expect(sourceOf(OPTIONS, 'no-docs')).toEqual({ variable: 'GRAFT_DOCS', fallback: null });
  expect(() => sourceOf(OPTIONS, 'project-requests-per-minute')).toThrow('no environment variable');
});
