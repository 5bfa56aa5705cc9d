// A base that the API imports and tokenizes data with, but that is never computed with.
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const BASE = fileURLToPath(new URL('../golden/llama/base', import.meta.url));

/** Writes the base to the folder and imports it with `call(method, path, body)` as "tiny". */
export async function importTinyBase(folder, call) {
  cpSync(BASE, folder, { recursive: true });
  writeFileSync(
    join(folder, 'tokenizer.json'),
    '{"pre_tokenizer":{"type":"Whitespace"},"model":{"type":"WordLevel","vocab":{"?":0},"unk_token":"?"}}',
  );
  // a realistic context length: job creation rejects data whose answers are truncated
  const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'));
  writeFileSync(
    join(folder, 'config.json'),
    JSON.stringify({ ...config, max_position_embeddings: 4096 }),
  );
  const chat_template =
    '{% for m in messages %}{{ m.role }}: {{ m.content }} {% endfor %}{% if add_generation_prompt %}assistant: {% endif %}';
  writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify({ chat_template }));
  await call('POST', '/models', { id: 'tiny', source: `dir:${folder}` });
  for (;;) {
    const { graft: state } = await call('GET', '/models/tiny');
    if (state.status === 'ready') return;
    if (state.status === 'error') throw new Error(state.status_details);
    await new Promise((wait) => setTimeout(wait, 50));
  }
}
