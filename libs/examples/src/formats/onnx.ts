import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';

/** f32 tensor of an ONNX file. */
export interface OnnxTensor {
  readonly shape: readonly number[];
  /** Little-endian f32 in row-major order. */
  readonly data: Uint8Array;
}

export interface OnnxNode {
  readonly name: string;
  readonly operator: string;
  readonly inputs: readonly string[];
}

export interface OnnxGraph {
  readonly nodes: readonly OnnxNode[];
  readonly tensors: ReadonlyMap<string, OnnxTensor>;
}

// Field numbers in onnx.proto.
const MODEL_GRAPH = 7;
const GRAPH = { node: 1, initializer: 5 };
const NODE = { input: 1, name: 3, operator: 4 };
const TENSOR = { dims: 1, type: 2, name: 8, raw: 9 };
const FLOAT = 1;

/** Reads the nodes and weights of an ONNX file. Skips tensors that are not f32 or not stored as raw data. */
export function readOnnx(file: Uint8Array): OnnxGraph {
  const nodes: OnnxNode[] = [];
  const tensors = new Map<string, OnnxTensor>();
  for (const [field, graph] of parts(file)) {
    if (field !== MODEL_GRAPH) continue;
    for (const [kind, part] of parts(graph)) {
      if (kind === GRAPH.node) nodes.push(nodeOf(part));
      if (kind === GRAPH.initializer) addTensor(part, tensors);
    }
  }
  return { nodes, tensors };
}

/** Yields the length-delimited fields of a message: bytes, strings and messages. */
function* parts(message: Uint8Array): Generator<readonly [field: number, bytes: Uint8Array]> {
  const reader = new BinaryReader(message);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (type === WireType.LengthDelimited) yield [field, reader.bytes()];
    else reader.skip(type, field);
  }
}

function nodeOf(message: Uint8Array): OnnxNode {
  const inputs: string[] = [];
  const text = { name: '', operator: '' };
  for (const [field, bytes] of parts(message)) {
    if (field === NODE.input) inputs.push(utf8(bytes));
    if (field === NODE.name) text.name = utf8(bytes);
    if (field === NODE.operator) text.operator = utf8(bytes);
  }
  return { ...text, inputs };
}

function addTensor(message: Uint8Array, tensors: Map<string, OnnxTensor>): void {
  const reader = new BinaryReader(message);
  const shape: number[] = [];
  let [type, name, data]: [number, string, Uint8Array | null] = [0, '', null];
  while (reader.pos < reader.len) {
    const [field, wire] = reader.tag();
    if (field === TENSOR.dims && wire === WireType.LengthDelimited) {
      for (const until = reader.uint32() + reader.pos; reader.pos < until;)
        shape.push(Number(reader.int64()));
    } else if (field === TENSOR.dims) shape.push(Number(reader.int64()));
    else if (field === TENSOR.type) type = reader.int32();
    else if (field === TENSOR.name) name = reader.string();
    else if (field === TENSOR.raw) data = reader.bytes();
    else reader.skip(wire, field);
  }
  if (type === FLOAT && data !== null) tensors.set(name, { shape, data });
}

const utf8 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8');
