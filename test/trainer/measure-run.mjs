// What one run takes in a process of its own, beside what is counted for it: `node measure-run.mjs FOLDER SPEC DATA [EVALUATED]`.
// Prints {"state", "activations", "data", "total", "measured", "code"} in bytes: what is counted, and beside it how far
// resident memory rose from before the run was opened to the highest while it took its steps, after a run of one small
// step has had the libraries make what they keep. Code is what of that rise lies in files: the libraries' own, of which
// a run may be the first to call a part.
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
// those that the run's adapter is made of
const adapterDirs = (spec.adapters ?? []).map(
  (peft) => train({ ...small, peft }, join(dirname(data), 'small.jsonl')).dir,
);
trimMemory();
const [before, fileBefore] = [kib('VmRSS'), kib('RssFile')];
writeFileSync('/proc/self/clear_refs', '5'); // the peak begins anew
const { bytes: counted } = train(spec, data, evaluated, adapterDirs);
const code = kib('RssFile') - fileBefore;
console.log(JSON.stringify({ ...counted, measured: kib('VmHWM') - before, code }));
