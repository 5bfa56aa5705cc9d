/** A typed array beside its numbers, and an object. */
const OBJECT_BYTES = 400;

/** What an example takes in JavaScript's memory, in bytes: its typed arrays, and what holds them. */
export function heldBytes(value: unknown): number {
  if (ArrayBuffer.isView(value)) return value.byteLength + OBJECT_BYTES;
  if (typeof value !== 'object' || value === null) return 8;
  return Object.values(value).reduce((sum: number, one) => sum + heldBytes(one), OBJECT_BYTES);
}
