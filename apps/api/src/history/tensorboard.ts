// TensorBoard's event files: TFRecords (https://www.tensorflow.org/tutorials/load_data/tfrecord) of tensorflow.Event
// (tensorflow/core/util/event.proto). A record is length (u64), masked CRC-32C of the length, data, masked CRC-32C of
// the data, all little-endian; a file is nothing but records, so that more may be appended at any time.
import { BinaryWriter } from '@bufbuild/protobuf/wire';
import type { Point } from './job-points.js';

/** tensorflow.Event: wall_time 1, step 2, file_version 3, summary 5. */
const EVENT = { wallTime: 1, step: 2, fileVersion: 3, summary: 5 };
/** tensorflow.Summary: value 1, which has a tag 1 and a simple_value 2. */
const SUMMARY = { value: 1, tag: 1, simpleValue: 2 };

const DOUBLE = 1;
const VARINT = 0;
const BYTES = 2;
const FLOAT = 5;

/** What a file begins with. */
export function fileHeader(at: Date): Buffer {
  const writer = new BinaryWriter();
  writer.tag(EVENT.wallTime, DOUBLE).double(at.getTime() / 1000);
  writer.tag(EVENT.fileVersion, BYTES).string('brain.Event:2');
  return record(writer.finish());
}

/** The numbers of one step or evaluation. */
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

/** As f32 has it: the writer refuses what is beyond its range. */
const single = (value: number): number => Math.fround(value);

function record(data: Uint8Array): Buffer {
  const frame = Buffer.alloc(12 + data.length + 4);
  frame.writeBigUInt64LE(BigInt(data.length), 0);
  frame.writeUInt32LE(masked(crc32c(frame.subarray(0, 8))), 8);
  frame.set(data, 12);
  frame.writeUInt32LE(masked(crc32c(data)), 12 + data.length);
  return frame;
}

/** As TensorFlow masks checksums that are kept beside their data. */
const masked = (crc: number): number => (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;

/** Castagnoli's polynomial, reflected. `zlib.crc32` has another. */
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
