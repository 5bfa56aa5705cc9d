// The tier that a command line asks for.

const TIERS = { '--quick': 'quick', '--all': 'all' };

/**
 * Takes `--quick` or `--all` out of arguments; the last one counts.
 * @returns {{tier: 'quick' | 'all' | null, args: string[]}} null where neither is given
 */
export function chooseTier(args) {
  const isTier = (arg) => Object.hasOwn(TIERS, arg);
  const asked = args.filter(isTier).at(-1);
  return {
    tier: asked === undefined ? null : TIERS[asked],
    args: args.filter((arg) => !isTier(arg)),
  };
}
