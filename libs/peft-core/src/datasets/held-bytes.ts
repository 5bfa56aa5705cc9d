/** Estimated overhead of a typed array and an object, in bytes. */
const OBJECT_BYTES = 400;

/** Returns the memory of an example in JavaScript, in bytes: its typed arrays and the objects that contain them. */
export function heldBytes(value: unknown): number {
  if (ArrayBuffer.isView(value)) return value.byteLength + OBJECT_BYTES;
  if (typeof value !== 'object' || value === null) return 8;
  return Object.values(value).reduce((sum: number, one) => sum + heldBytes(one), OBJECT_BYTES);
}
