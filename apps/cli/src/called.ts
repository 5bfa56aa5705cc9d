/**
 * How the user starts this program: `npx graft` inside a clone, otherwise `graft`. Messages that name a command use it,
 * so that the command can be pasted. Help pages always say `graft`.
 */
export const GRAFT = calledIn(process.env);

export function calledIn(env: Readonly<Record<string, string | undefined>>): 'graft' | 'npx graft' {
  // npm sets both for `npx graft` and `npm start`; other programs that npm runs, such as test runners, have other names.
  const { npm_lifecycle_event: event = '', npm_lifecycle_script: script = '' } = env;
  const isNpx = event === 'npx' && /^["']?graft["']?(\s|$)/.test(script);
  return isNpx || event === 'start' ? 'npx graft' : 'graft';
}
