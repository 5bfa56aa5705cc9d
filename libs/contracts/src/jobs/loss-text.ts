/** Formats a loss with four significant digits. */
export function lossText(loss: number): string {
  if (!Number.isFinite(loss)) return String(loss);
  return Math.abs(loss) >= 1000 ? loss.toFixed(0) : loss.toPrecision(4);
}
