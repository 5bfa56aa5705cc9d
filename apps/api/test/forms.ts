import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { chats } from './fixture.js';

/** Directory of an adapter as PEFT saves it. */
const LORA = join(import.meta.dirname, '../../../test/golden/llama/lora-rslora');

/** Returns a form for a route that accepts forms; null for JSON routes. */
export function formOf(path: string): FormData | null {
  const form = new FormData();
  if (path === '/v1/adapters') {
    form.set('model', 'tiny');
    for (const name of ['adapter_config.json', 'adapter_model.safetensors'])
      form.append('file', new File([readFileSync(join(LORA, name))], name));
    return form;
  }
  const isPart = path.endsWith('/parts');
  if (path !== '/v1/files' && !isPart) return null;
  if (!isPart) form.set('purpose', 'fine-tune');
  form.set(isPart ? 'data' : 'file', new File([chats(12)], 'a.jsonl'));
  return form;
}
