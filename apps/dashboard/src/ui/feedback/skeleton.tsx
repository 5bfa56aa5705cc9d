interface SkeletonProps {
  /** Height in pixels of what is loading. */
  readonly height: number;
  readonly width?: number | string;
  /** Number of equal blocks, one below the other. */
  readonly rows?: number;
}

/** Placeholder with the size of what is loading, so that nothing moves when it arrives. */
export function Skeleton({ height, width = '100%', rows = 1 }: SkeletonProps) {
  return (
    <div className="skeletons" role="status" aria-label="Loading">
      {Array.from({ length: rows }, (_, n) => (
        <div key={n} className="skeleton" style={{ height, width }} />
      ))}
    </div>
  );
}
