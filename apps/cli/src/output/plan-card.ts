import type { DataReport, JobPreviewObject } from '@graft/contracts';
import { peftTitle } from '@graft/contracts/job-method';
import { vocabularyText, memoryText, planLine } from '@graft/contracts/plan-line';
import { placeText } from '@graft/contracts/queue-place';
import { bytes, printable } from './terminal.js';

/** Plan in one line, such as "12 examples · 9 epochs · 108 steps · …". */
export function lineOf(preview: JobPreviewObject): string {
  return planLine({
    examples: preview.examples,
    epochs: preview.hyperparameters.n_epochs,
    steps: preview.steps,
    seconds: preview.seconds,
    trainable: preview.trainable_parameters,
    total: preview.total_parameters,
  });
}

/** Examples of the training file that are held out for validation. Null if there are none. */
export function heldOutText({ graft, validation }: JobPreviewObject): string | null {
  if (!graft['validation_split'] || !validation) return null;
  const { examples } = validation;
  const by = graft['stratify_by_column'] === 'label' ? ', stratified by label' : '';
  return `${examples.toLocaleString('en')} example${examples === 1 ? '' : 's'} held out for validation${by}`;
}

/** Card of a preview: the plan in one line, its details and its warnings. */
export function planCard(preview: JobPreviewObject): string {
  const { hyperparameters, graft, peft, training, validation } = preview;
  const accumulation = Number(graft['gradient_accumulation_steps'] ?? 1);
  const batch = `${hyperparameters.batch_size}${accumulation > 1 ? ` × ${accumulation}` : ''}`;
  const rows: [string, string][] = [
    ['model', preview.model],
    ['method', peft === null ? 'full fine-tuning' : methodLine(peft, graft['quantization'])],
    [
      'rate',
      `${String(graft['learning_rate'])} ${String(graft['lr_schedule'])}, batches of ${batch}`,
    ],
    ['tokens', `${preview.tokens.toLocaleString('en')}${training.sampled ? ' (estimated)' : ''}`],
    ['time', preview.seconds_from ?? 'unknown until a similar job has run'],
    ['memory', memoryLine(preview)],
    ['queue', placeText(preview)],
    ['training', dataLine(training)],
    ['vocabulary', vocabularyText(graft) ?? ''],
    ...(validation ? ([['validation', dataLine(validation)]] as [string, string][]) : []),
    ['held out', heldOutText(preview) ?? ''],
    ...preview.warnings.map((warning): [string, string] => ['warning', warning]),
  ];
  const lines = rows
    .filter(([, value]) => value !== '')
    .map(([name, value]) => `  ${name.padEnd(12)}${printable(value)}`);
  return [lineOf(preview), ...lines].join('\n');
}

function memoryLine(preview: JobPreviewObject): string {
  const text = memoryText(preview, bytes);
  return text ? `${text.total}: ${text.parts}` : '';
}

/** Method with its resolved fields that are numbers, names or lists. */
function methodLine(peft: Readonly<Record<string, unknown>>, quantization: unknown): string {
  const shown = Object.entries(peft).filter(
    ([name, value]) => name !== 'peft_type' && isShown(value),
  );
  const fields = shown.map(([name, value]) => `${name} ${String(value)}`).join(', ');
  return `${peftTitle(peft, quantization)}${fields === '' ? '' : `: ${fields}`}`;
}

const isShown = (value: unknown): boolean =>
  (typeof value === 'number' && value !== 0) ||
  (typeof value === 'string' && value !== 'none') ||
  (Array.isArray(value) && value.length > 0);

function dataLine({ examples, longest, max_seq_len: most, cut }: DataReport): string {
  const number = (n: number): string => n.toLocaleString('en');
  return `${number(examples)} examples, longest ${number(longest)} tokens; ${number(cut)} truncated at ${number(most)}`;
}
