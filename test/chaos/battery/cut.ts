// Requests that break off: a client sends part of a form and closes the connection.
import { randomUUID } from 'node:crypto';
import { request } from 'node:http';
import type { Cluster } from './cluster.js';
import type { Random } from './random.js';

/** File in a form. */
export interface Part {
  readonly name: string;
  readonly filename: string;
  readonly content: string | Buffer;
}

/** Sends between a tenth and nine tenths of a form, then breaks the connection. */
export function cut(
  { cluster, random }: { readonly cluster: Cluster; readonly random: Random },
  path: string,
  fields: Readonly<Record<string, string>>,
  files: readonly Part[],
): Promise<void> {
  const boundary = `battery-${randomUUID()}`;
  const content = formOf(boundary, fields, files);
  return new Promise((resolve) => {
    const sending = request(`${random.of(cluster.apis).url}/v1${path}`, {
      method: 'POST',
      headers: {
        ...cluster.headers,
        'content-type': `multipart/form-data; boundary=${boundary}`,
        'content-length': content.length,
      },
    });
    sending.on('error', () => undefined);
    sending.on('close', () => resolve());
    const sent = content.subarray(0, Math.floor(content.length * random.between(0.1, 0.9)));
    sending.write(sent, () => sending.destroy());
  });
}

function formOf(
  boundary: string,
  fields: Readonly<Record<string, string>>,
  files: readonly Part[],
): Buffer {
  const head = (disposition: string): Buffer =>
    Buffer.from(`--${boundary}\r\ncontent-disposition: form-data; ${disposition}\r\n\r\n`);
  const end = Buffer.from('\r\n');
  return Buffer.concat([
    ...Object.entries(fields).flatMap(([name, value]) => [
      head(`name="${name}"`),
      Buffer.from(value),
      end,
    ]),
    ...files.flatMap(({ name, filename, content }) => [
      head(`name="${name}"; filename="${filename}"`),
      Buffer.from(content),
      end,
    ]),
    Buffer.from(`--${boundary}--\r\n`),
  ]);
}
