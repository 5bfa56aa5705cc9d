// Measures the memory of one run in a separate process and compares it with the estimate: `node measure-run.mjs FOLDER
// SPEC DATA [EVALUATED]`.
// Prints {"state", "activations", "data", "total", "measured", "code"} in bytes: the estimate, and the increase of
// resident memory from before the run to its peak during steps. A run of one small step comes first, so that libraries
// allocate what they keep. `code` is the part of the increase that is mapped from files: libraries that the run is the
// first to use.
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { loadBase, openRun, prepareRun, RunGroup, setThreads, takeTurn } from '@graft/peft-core';
import { trimMemory } from '@graft/kernels';

const [folder, specJson, data, evaluated] = process.argv.slice(2);
const spec = JSON.parse(specJson);
setThreads(1);
const kib = (key) =>
  1024 * Number(new RegExp(`${key}:\\s+(\\d+)`).exec(readFileSync('/proc/self/status', 'utf8'))[1]);

const base = loadBase(`${folder}/base`, { dtype: spec.base_dtype, quantization: null });
let id = 1;
function train(settings, trainFile, validFile = null, adapterDirs = []) {
  const options = {
    id: id++,
    baseId: 'base',
    trainFile,
    validFile,
    adapterDirs,
    workDir: `${folder}/work-${process.pid}-${id}`,
  };
  const prepared = prepareRun(base, settings, options);
  const run = openRun(base, settings, options, prepared);
  const group = new RunGroup(base.model);
  group.add(run);
  let last;
  while (group.size > 0) takeTurn(group, (_, fact) => (last = fact));
  if (last.type !== 'finished') throw new Error(JSON.stringify(last));
  return { bytes: prepared.bytes, dir: last.dir };
}

const small = { ...spec, peft: { peft_type: 'LORA', r: 1 }, batch_size: 1, max_steps: 1 };
train(small, join(dirname(data), 'small.jsonl'));
// adapters that the run's adapter is made of
const adapterDirs = (spec.adapters ?? []).map(
  (peft) => train({ ...small, peft }, join(dirname(data), 'small.jsonl')).dir,
);
trimMemory();
const [before, fileBefore] = [kib('VmRSS'), kib('RssFile')];
writeFileSync('/proc/self/clear_refs', '5'); // resets the peak
const { bytes: counted } = train(spec, data, evaluated, adapterDirs);
const code = kib('RssFile') - fileBefore;
console.log(JSON.stringify({ ...counted, measured: kib('VmHWM') - before, code }));
