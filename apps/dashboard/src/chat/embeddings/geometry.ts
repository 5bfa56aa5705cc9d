// Similarities of vectors, and their projection onto a plane.

export type Vector = readonly number[];

const dot = (a: Vector, b: Vector): number =>
  a.reduce((sum, value, i) => sum + value * (b[i] ?? 0), 0);

/** Returns the cosine similarity of two vectors, from −1 to 1. It is 0 if one of them is 0. */
export function cosine(a: Vector, b: Vector): number {
  const size = Math.sqrt(dot(a, a) * dot(b, b));
  return size === 0 ? 0 : dot(a, b) / size;
}

/** Returns the other vectors, the most similar first. */
export const neighbours = (
  vectors: readonly Vector[],
  of: number,
): readonly { readonly index: number; readonly similarity: number }[] =>
  vectors
    .map((vector, index) => ({ index, similarity: cosine(vectors[of] ?? [], vector) }))
    .filter(({ index }) => index !== of)
    .sort((a, b) => b.similarity - a.similarity);

const ITERATIONS = 200;

/**
 * Projects n vectors onto their first two principal components. With X the centered vectors, shape
 * (n, d), the coordinates are u √λ for the two largest eigenvalues λ of X Xᵀ, shape (n, n), and their
 * eigenvectors u. Power iteration finds them. The largest entry of each u is made positive, so that the
 * same vectors always get the same places.
 */
export function project(vectors: readonly Vector[]): readonly (readonly [x: number, y: number])[] {
  const n = vectors.length;
  const size = vectors[0]?.length ?? 0;
  const mean = Array.from(
    { length: size },
    (_, k) => vectors.reduce((sum, vector) => sum + (vector[k] ?? 0), 0) / n,
  );
  const centered = vectors.map((vector) => vector.map((value, k) => value - (mean[k] ?? 0)));
  const gram = centered.map((a) => centered.map((b) => dot(a, b)));
  const [x, y] = [component(gram), component(gram)];
  return vectors.map((_, i) => [x[i] ?? 0, y[i] ?? 0] as const);
}

/** Returns the first component of a Gram matrix as coordinates, and removes it from the matrix. */
function component(gram: number[][]): number[] {
  const n = gram.length;
  let u = Array.from({ length: n }, (_, i) => Math.cos(1 + 2 * i));
  let lambda = 0;
  for (let k = 0; k < ITERATIONS; k++) {
    const next = gram.map((row) => dot(row, u));
    lambda = Math.sqrt(dot(next, next));
    if (lambda < 1e-12) return u.map(() => 0);
    u = next.map((value) => value / lambda);
  }
  const most = u.reduce((best, value) => (Math.abs(value) > Math.abs(best) ? value : best), 0);
  if (most < 0) u = u.map((value) => -value);
  for (const [i, row] of gram.entries())
    for (const j of row.keys()) row[j] = (row[j] ?? 0) - lambda * (u[i] ?? 0) * (u[j] ?? 0);
  return u.map((value) => value * Math.sqrt(lambda));
}
