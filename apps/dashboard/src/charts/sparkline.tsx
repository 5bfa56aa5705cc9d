/** A curve small enough for a table cell. Its default description is the loss over the whole run. */
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
  /** Value at the lower edge. The default is the lowest value. */
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
