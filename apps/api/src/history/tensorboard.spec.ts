import { expect, it } from 'vitest';
import { crc32c, fileHeader, pointRecord } from './tensorboard.js';

// test/parity/tensorboard.all.spec.ts checks that TensorBoard reads such files.

it('computes the CRC-32C of RFC 3720', () => {
  expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
  expect(crc32c(Buffer.alloc(32))).toBe(0x8a9136aa);
  expect(crc32c(Buffer.alloc(32, 0xff))).toBe(0x62a8ab43);
});

it('matches the output of TensorBoard’s own writer byte for byte', () => {
  // written by tensorboard 2.21
  const at = new Date(1_000);
  const loss = (value: number): string =>
    pointRecord({ number: 1, at, step: 3, values: { 'train/loss': value } }).toString('hex');
  expect(fileHeader(at).toString('hex')).toBe(
    '1800000000000000a37f4b2209000000000000f03f1a0d627261696e2e4576656e743a3286bf577a',
  );
  const begin = '200000000000000029eda95009000000000000f03f10032a130a110a0a747261696e2f6c6f737315';
  expect(loss(0.5)).toBe(`${begin}0000003f87a9e1ea`);
  expect(loss(NaN)).toBe(`${begin}0000c07fc9205fad`);
  // float32 cannot represent 1e300
  expect(loss(1e300)).toBe(loss(Infinity));
});
