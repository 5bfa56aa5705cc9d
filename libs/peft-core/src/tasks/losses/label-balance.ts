// Warns about an imbalance of good and bad answers in a training file.

interface Weights {
  readonly desirable_weight: number;
  readonly undesirable_weight: number;
}

/** Maximum total weight of good answers relative to bad ones (arXiv:2402.01306 eq. 8; TRL's numbers). */
const MOST = 1.33;

const rounded = (n: number): number => Math.round(n * 100) / 100;

/** Returns a warning for the owner of a file with these label counts, or null. */
export function labelBalance(
  labels: ReadonlyMap<string, number>,
  { desirable_weight: desirable, undesirable_weight: undesirable }: Weights,
): string | null {
  const [good, bad] = [labels.get('true') ?? 0, labels.get('false') ?? 0];
  if (good + bad === 0) return null;
  if (good === 0 || bad === 0)
    return `All labels of the training file are ${good === 0 ? 'false' : 'true'}: the model cannot learn to distinguish good from bad answers without examples of both.`;
  const [goods, bads] = [good * desirable, bad * undesirable];
  const share = rounded(goods / bads);
  if (good === bad || (share >= 1 && share <= MOST)) return null;
  const [low, high] = [bads / good, (MOST * bads) / good].map(rounded);
  const [lower, higher] = [goods / bad / MOST, goods / bad].map(rounded);
  return (
    `${good.toLocaleString('en')} answers of the training file are good and ${bad.toLocaleString('en')} are bad: set desirable_weight ` +
    `from ${low} to ${high}, or undesirable_weight from ${lower} to ${higher}, to balance them.`
  );
}
