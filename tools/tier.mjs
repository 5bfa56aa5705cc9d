// Parses the test tier from the command line.

const TIERS = { '--quick': 'quick', '--all': 'all' };

/**
 * Removes `--quick` and `--all` from arguments; the last one counts.
 * @returns {{tier: 'quick' | 'all' | null, args: string[]}} null if there is neither
 */
export function chooseTier(args) {
  const isTier = (arg) => Object.hasOwn(TIERS, arg);
  const flag = args.filter(isTier).at(-1);
  return {
    tier: flag === undefined ? null : TIERS[flag],
    args: args.filter((arg) => !isTier(arg)),
  };
}
