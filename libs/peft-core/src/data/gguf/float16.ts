// IEEE 754 half-precision values. Loads no native code.

let halves: Float32Array | undefined;

/** Returns the float32 values of all 65,536 float16 bit patterns. */
export function halfTable(): Float32Array {
  if (halves) return halves;
  halves = new Float32Array(65_536);
  for (let bits = 0; bits < 65_536; bits++) {
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    const sign = bits & 0x8000 ? -1 : 1;
    if (exponent === 31) halves[bits] = fraction ? NaN : sign * Infinity;
    else if (exponent === 0) halves[bits] = sign * fraction * 2 ** -24;
    else halves[bits] = sign * (1024 + fraction) * 2 ** (exponent - 25);
  }
  return halves;
}
