// TensorBoard event files: TFRecords (https://www.tensorflow.org/tutorials/load_data/tfrecord) of
// tensorflow.Event (tensorflow/core/util/event.proto). A record consists of length (u64), masked CRC-32C of
// the length, data and masked CRC-32C of the data, all little-endian. A file is a sequence of records, so
// more can be appended at any time.
import { BinaryWriter } from '@bufbuild/protobuf/wire';
import type { Point } from './job-points.js';

/** Field numbers of tensorflow.Event. */
const EVENT = { wallTime: 1, step: 2, fileVersion: 3, summary: 5 };
/** Field numbers of tensorflow.Summary and of its values. */
const SUMMARY = { value: 1, tag: 1, simpleValue: 2 };

const DOUBLE = 1;
const VARINT = 0;
const BYTES = 2;
const FLOAT = 5;

/** First record of a file. */
export function fileHeader(at: Date): Buffer {
  const writer = new BinaryWriter();
  writer.tag(EVENT.wallTime, DOUBLE).double(at.getTime() / 1000);
  writer.tag(EVENT.fileVersion, BYTES).string('brain.Event:2');
  return record(writer.finish());
}

/** Record with the metrics of a step or an evaluation. */
export function pointRecord({ at, step, values }: Point): Buffer {
  const writer = new BinaryWriter();
  writer.tag(EVENT.wallTime, DOUBLE).double(at.getTime() / 1000);
  writer.tag(EVENT.step, VARINT).int64(step);
  writer.tag(EVENT.summary, BYTES).fork();
  for (const [name, value] of Object.entries(values)) {
    writer.tag(SUMMARY.value, BYTES).fork();
    writer.tag(SUMMARY.tag, BYTES).string(name);
    writer.tag(SUMMARY.simpleValue, FLOAT).float(single(value));
    writer.join();
  }
  writer.join();
  return record(writer.finish());
}

/** Rounds to float32. The writer rejects values outside its range. */
const single = (value: number): number => Math.fround(value);

function record(data: Uint8Array): Buffer {
  const frame = Buffer.alloc(12 + data.length + 4);
  frame.writeBigUInt64LE(BigInt(data.length), 0);
  frame.writeUInt32LE(masked(crc32c(frame.subarray(0, 8))), 8);
  frame.set(data, 12);
  frame.writeUInt32LE(masked(crc32c(data)), 12 + data.length);
  return frame;
}

/** Masks a checksum as TensorFlow does for checksums that are stored with their data. */
const masked = (crc: number): number => (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;

/** Table for the reflected Castagnoli polynomial. `zlib.crc32` uses a different one. */
const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

export function crc32c(data: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of data) crc = (crc >>> 8) ^ (TABLE[(crc ^ byte) & 0xff] as number);
  return ~crc >>> 0;
}
