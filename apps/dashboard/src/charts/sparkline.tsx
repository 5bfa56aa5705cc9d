/** A curve small enough for a table cell: the loss over the whole run unless it is said what else. */
export function Sparkline({
  values,
  width = 96,
  height = 22,
  label,
  floor,
}: {
  values: readonly number[];
  width?: number;
  height?: number;
  label?: string;
  /** What its lower edge stands for; left out, the lowest value. */
  floor?: number;
}) {
  const finite = values.filter(Number.isFinite);
  if (finite.length < 2) return null;
  const low = floor ?? Math.min(...finite);
  const span = Math.max(...finite) - low || 1;
  const points = finite
    .map(
      (v, i) =>
        `${((i / (finite.length - 1)) * width).toFixed(1)},${(2 + (1 - (v - low) / span) * (height - 4)).toFixed(1)}`,
    )
    .join(' ');
  return (
    <svg
      className="sparkline"
      viewBox={`0 0 ${width} ${height}`}
      width={width}
      height={height}
      role="img"
      aria-label={label ?? `loss from ${finite[0]?.toFixed(3)} to ${finite.at(-1)?.toFixed(3)}`}
    >
      <polyline points={points} fill="none" stroke="currentColor" strokeWidth="1.5" />
    </svg>
  );
}
