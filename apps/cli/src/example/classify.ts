import { bar } from '../output/terminal.js';
import type { Answers, Asking, HeldOut } from './kind.js';
import { patiently } from './patience.js';

/** Inputs of a request: so that there is progress to show. */
const AT_ONCE = 10;

/** The labels that a model gives. @param inputOf a held-out example, without what is to be found out */
export async function labelled<H extends HeldOut>(
  { api, model, data, title, out, signal }: Asking<H>,
  inputOf: (example: H) => unknown,
): Promise<Answers> {
  const examples = data.heldOut;
  const answers: string[] = [];
  while (answers.length < examples.length && !signal.aborted) {
    const input = examples.slice(answers.length, answers.length + AT_ONCE).map(inputOf);
    const { data: found } = await patiently(signal, () =>
      api.post<{ data: readonly { readonly label: string }[] }>('/classify', { model, input }),
    );
    answers.push(...found.map(({ label }) => label));
    out.draw(
      `${title} ${bar(answers.length / examples.length)} ${answers.length}/${examples.length}`,
    );
  }
  out.draw('');
  return answers;
}
